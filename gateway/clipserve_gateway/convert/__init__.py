"""Converts between protobuf and the domain: validates requests, builds responses, maps errors to statuses.

Imports collection and what lies below it.
"""
