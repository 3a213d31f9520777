"""Harmed inputs against a running service."""
