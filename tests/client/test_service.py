"""Runs the cases of service_cases.py against the fake server."""

from __future__ import annotations

from client.service_cases import ServiceCases, new_collection, new_name, service

__all__ = ["TestFakeService", "new_collection", "new_name", "service"]


class TestFakeService(ServiceCases):
    """See service_cases.py."""
