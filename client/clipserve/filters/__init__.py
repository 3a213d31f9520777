"""Conditions on payloads, written as Python expressions or as text."""
