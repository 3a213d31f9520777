"""Backups of a whole store: made while gateways serve, verified, and restored into an empty store."""
