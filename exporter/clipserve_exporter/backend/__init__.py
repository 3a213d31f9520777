"""What is copied beside model.pt for Triton's Python backend; never imported by the exporter."""
