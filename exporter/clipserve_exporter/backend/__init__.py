"""What is copied beside model.pt for Triton's Python backend; trials run a tower in the same way."""
