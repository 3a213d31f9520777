"""The adapter of HTTP: calls over Connect, the OpenAI embeddings API, the page and the API documents."""
