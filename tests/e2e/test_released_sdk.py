"""An SDK that was installed earlier goes on working with today's gateway."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from testing.service import ROOT, Service

RELEASED = "63cd53226ba3d1b7be79008e4d4cefd831f4e3fd"
"""The commit whose SDK must still work, with the cases that it had to pass."""
NO_LONGER_REFUSED = "test_released.py::TestReleasedSdk::test_bad_collection_names_are_refused[a-b-c]"
"""Names may have hyphens since."""
CASES = """
import os
from pathlib import Path

import clipserve
import pytest
from client.service_cases import ServiceCases, new_collection, new_name, service


@pytest.fixture
def address():
    return os.environ["SERVICE"]


class TestReleasedSdk(ServiceCases):
    def test_the_released_sdk_is_the_one_that_runs(self):
        assert Path(clipserve.__file__).is_relative_to(Path(__file__).parent)
"""


def released(folder: Path) -> None:
    """Puts the released SDK and its cases into a folder; skips where the history does not go back so far."""
    command = ["git", "archive", RELEASED, "client", "tests/client", "tests/support"]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if packed.returncode != 0:
        pytest.skip(f"the git history does not have the released SDK ({RELEASED[:12]})")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "test_released.py").write_text(CASES)


@pytest.mark.slow
def test_the_released_sdk_passes_its_cases_on_this_gateway(live: Service, tmp_path):
    released(tmp_path)
    paths = os.pathsep.join([str(tmp_path / "client"), str(tmp_path / "tests")])
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider"]
    command += ["--rootdir", tmp_path, "-o", "asyncio_mode=auto", "test_released.py"]
    command += ["--deselect", NO_LONGER_REFUSED]
    environment = os.environ | {"PYTHONPATH": paths, "SERVICE": live.address}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) > 50
