"""Backups of a whole store: taken while gateways serve, checked, and restored into an empty place."""
