"""What tests of several parts share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.milvus_server import MilvusServer


@pytest.fixture(scope="session")
def milvus() -> Iterator[MilvusServer]:
    """One real Milvus server for all tests: it needs seconds to start."""
    with tempfile.TemporaryDirectory(prefix="clipserve-milvus-", ignore_cleanup_errors=True) as folder:
        server = MilvusServer(Path(folder))
        server.start()
        yield server
        server.kill()
