"""Whole requests and responses. Imports wire and what lies below; sends nothing."""
