"""LanceDB as an engine: the one place of its libraries."""
