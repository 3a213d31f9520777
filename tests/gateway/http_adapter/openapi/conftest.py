"""The description of the whole API."""

from __future__ import annotations

from typing import Any

import pytest
from clipserve.v1 import clip_pb2, collection_pb2, labels_pb2
from clipserve_gateway.calls.method import Method, methods_of
from clipserve_gateway.http_adapter.openapi.document import document
from clipserve_gateway.settings import Settings


class Anything:
    """Has a handler for every method; they are not called."""

    def __getattr__(self, name: str) -> None:
        return None


@pytest.fixture(scope="session")
def methods() -> list[Method]:
    """All methods of the API."""
    files = (clip_pb2.DESCRIPTOR, collection_pb2.DESCRIPTOR, labels_pb2.DESCRIPTOR)
    services = [service for file in files for service in file.services_by_name.values()]
    return [method for service in services for method in methods_of(service, Anything())]


@pytest.fixture(scope="session")
def described(methods: list[Method]) -> dict[str, Any]:
    """The description for a server without tokens."""
    return document(methods, Settings().limits, tokens=False)
