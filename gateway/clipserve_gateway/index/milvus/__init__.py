"""Milvus as an engine: the one place of its library."""
