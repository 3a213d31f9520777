"""Watches one Triton from beside it, and says what is to become of it."""
