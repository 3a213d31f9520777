"""Deadlines, queues, limits and fair turns. Knows no model and no collection.

Imports process and what lies below.
"""
