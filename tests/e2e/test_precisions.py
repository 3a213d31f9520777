"""One model in every precision: the exports share a fingerprint, and `clipserve verify` accepts each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import clipserve
import pytest

from testing.service import BIN, Service, start
from zoo import exporting
from zoo.export_row import Task, served_name

ROW, PRECISIONS = "vit-h-14", ("fp32", "bf16", "fp16")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("precisions")
    task = Task([ROW], str(folder), str(folder / "models"), list(PRECISIONS), 8 * 2**30)
    results = exporting.export(task, 300.0, on_step=lambda step: None)
    assert not exporting.error_of(results, [ROW]), (folder / "export.log").read_text()[-3000:]
    return folder / "models"


@pytest.fixture(scope="module")
def service(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = start(tmp_path_factory.mktemp("service"), "--default-model", ROW, repository=repository)
    yield service
    assert service.stop() == 0, service.words


def test_all_share_the_fingerprint(service):
    with clipserve.Client(service.address) as client:
        models = client.info().models
    assert {model.precision: model.ready for model in models} == dict.fromkeys(PRECISIONS, True)
    assert len({model.ref.fingerprint for model in models}) == 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_is_verified(service, repository, precision):
    golden = repository / f"{served_name(ROW, precision)}.golden.npz"
    command = [BIN / "clipserve", "--target", service.address, "verify", "--golden", golden, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [model] = json.loads(done.stdout)["models"]
    assert {check["status"] for check in model["checks"]} == {"passed"}
