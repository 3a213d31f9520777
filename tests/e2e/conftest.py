"""One real service for all end-to-end tests: the demo model in a real Triton, and the gateway."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import clipserve
import pytest

from testing.service import BIN, ROOT, Service, start


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model, and a twin of it that has another name and fingerprint: somewhere to move to."""
    repository = tmp_path_factory.mktemp("models") / "model_repository"
    shutil.copytree(ROOT / "build" / "model_repository", repository)
    for tower in ("image", "text"):
        twin = repository / f"twin_{tower}"
        shutil.copytree(repository / f"demo_{tower}", twin)
        config = (twin / "config.pbtxt").read_text()
        fingerprint = re.search(r'"fingerprint" value \{ string_value: "(\w{64})"', config)[1]
        for old, new in (
            (f'name: "demo_{tower}"', f'name: "twin_{tower}"'),
            ('"model" value { string_value: "demo" }', '"model" value { string_value: "twin" }'),
            (fingerprint, fingerprint[::-1]),
        ):
            assert config.count(old) == 1, old
            config = config.replace(old, new)
        (twin / "config.pbtxt").write_text(config)
    return repository


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Service]:
    live = start(tmp_path_factory.mktemp("service"), "--default-model", "demo", repository=repository)
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
