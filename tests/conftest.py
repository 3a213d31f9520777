"""What tests of several parts share."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testing.milvus_server import MilvusServer

# Tests speak to this machine only, by urllib and gRPC, which obey the environment's proxy.
for variable in ("no_proxy", "NO_PROXY"):
    os.environ[variable] = ",".join(
        filter(None, [os.environ.get(variable), "localhost,127.0.0.1,::1,0.0.0.0"])
    )


@pytest.fixture(autouse=True)
def no_state_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Folders that tests index are noted in a folder of theirs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """For tests that recurse to the limit: there, what finalizes garbage of earlier tests would fail."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session")
def milvus() -> Iterator[MilvusServer]:
    """One real Milvus server for all tests: it needs seconds to start."""
    # The models' environment has no pymilvus.
    from testing.milvus_server import MilvusServer

    with tempfile.TemporaryDirectory(prefix="clipserve-milvus-", ignore_cleanup_errors=True) as folder:
        server = MilvusServer(Path(folder))
        server.start()
        yield server
        server.kill()
