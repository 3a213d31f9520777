"""One real service for all end-to-end tests: the demo model in a real Triton, and the gateway."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import clipserve
import pytest
from support.service import BIN, ROOT, Service, start


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    live = start(tmp_path_factory.mktemp("service"))
    yield live
    assert live.stop() == 0, live.words


@pytest.fixture(scope="session")
def client(live: Service) -> Iterator[clipserve.Client]:
    with clipserve.Client(live.address) as client:
        yield client


@pytest.fixture(scope="session")
def cli(live: Service) -> Callable[..., dict]:
    """Runs a command of the CLI against the service; its JSON answer."""

    def run(*words: str) -> dict:
        command = [BIN / "clipserve", "--target", live.address, *words, "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
