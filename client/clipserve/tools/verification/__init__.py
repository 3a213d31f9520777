"""Checks that a running service gives the embeddings that it should."""
