"""A web server with bounds, on uvicorn's HTTP/1.1, and the operations port. Knows nothing of CLIP."""
