"""Conditions on payloads, as Python expressions and as text."""
