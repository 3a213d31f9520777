"""The client's own cases, which hold for its fake server, on the real service."""

from __future__ import annotations

import pytest
from client.service_cases import ServiceCases, new_collection, new_name, service

from testing.service import Service

__all__ = ["TestRealService", "new_collection", "new_name", "service"]


@pytest.fixture
def address(live: Service) -> str:
    return live.address


class TestRealService(ServiceCases):
    """See client/service_cases.py."""
