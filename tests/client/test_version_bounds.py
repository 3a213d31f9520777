"""The SDK and its command work with the oldest and the newest releases that pyproject.toml allows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from client.fake_server import FakeServer
from client.pictures import png

if sys.version_info >= (3, 11):
    import tomllib
else:  # a dependency of pytest there
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

USE = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("error")
import numpy as np
import clipserve
from clipserve import F

with clipserve.Client(sys.argv[1], timeout=20) as client:
    picture = Path(sys.argv[2]).read_bytes()
    embedded = client.embed_images([picture, np.zeros((8, 8, 3), np.uint8)])
    assert embedded.embeddings.dtype == np.float32 and len(embedded) == 2
    assert len(client.classify([picture], ["cat", "dog"])) == 1
    client.create_collection("things", schema={"n": "int"})
    client.upsert("things", [clipserve.Point("a", image=picture, payload={"n": 3})])
    assert [hit.id for hit in client.search("things", text="cat", filter=F("n") == 3)] == ["a"]
    assert len(list(client.embed_stream([["x"], ["y"]], kind="texts"))) == 2
    try:
        client.search("missing", text="cat")
    except clipserve.CollectionNotFound as error:
        assert error.request_id
"""


ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""Without PYTHONPATH, so that the installed package is tested."""


def requirements() -> list[str]:
    """Requirements of the SDK and its command."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["cli"]]


def lowest(requirement: str) -> str:
    """The oldest release that a requirement allows."""
    name, version = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
    return f"{name}=={version}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source of the package, because the build writes files into it."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "client", folder / "client")
    (folder / "gateway").mkdir()
    (folder / "exporter").mkdir()
    return folder


@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_the_sdk_and_its_command_work_at_the_end_of_all_bounds(
    end: str, source: Path, tmp_path: Path, server: FakeServer
) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    pins = [lowest(requirement) for requirement in requirements()] if end == "lowest" else []
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", f"{source}[cli]", *pins],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "cat.png").write_bytes(png(1))

    run = [python, "-c", USE, server.address, tmp_path / "cat.png"]
    done = subprocess.run(
        run, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr

    command = [python.with_name("clipserve"), "classify", "cat.png", "--labels", "cat,dog", "--json"]
    done = subprocess.run(
        [*command, "--target", server.address],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
