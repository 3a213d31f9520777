"""Whole requests and responses. Imports `wire` and lower layers; does no I/O."""
