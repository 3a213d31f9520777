"""The client's own cases, which hold for its fake server, on the real service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from client.service_cases import ServiceCases, new_collection, new_name, service

from testing.http_bridge import HttpBridge
from testing.service import Service

__all__ = ["TestRealService", "TestServiceOverHttp", "new_collection", "new_name", "service"]


@pytest.fixture
def address(live: Service) -> str:
    return live.address


@pytest.fixture(scope="session")
def bridge(live: Service) -> Iterator[HttpBridge]:
    bridge = HttpBridge(live.api)
    yield bridge
    bridge.stop()


class TestRealService(ServiceCases):
    """See client/service_cases.py."""


@pytest.mark.slow
class TestServiceOverHttp(ServiceCases):
    """The same cases with every call as JSON over HTTP."""

    @pytest.fixture
    def address(self, bridge: HttpBridge) -> str:
        return bridge.address
