"""One real service for all end-to-end tests: the demo model in a real Triton, and the gateway."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import clipserve
import pytest
from support.service import BIN, ROOT, Service, start


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = start(tmp_path_factory.mktemp("service"))
    yield service
    assert service.stop() == 0, service.words


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[clipserve.Client]:
    with clipserve.Client(service.address) as client:
        yield client


@pytest.fixture(scope="session")
def cli(service: Service) -> Callable[..., dict]:
    """Runs a command of the CLI against the service; its JSON answer."""

    def run(*words: str) -> dict:
        command = [BIN / "clipserve", "--target", service.address, *words, "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
