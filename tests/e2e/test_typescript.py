"""A generated Connect client for TypeScript, which others wrote, calls the running service."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import google.rpc
import pytest

from testing.javascript import SOURCE, packages
from testing.service import ROOT, Service

CASES = re.findall(r"^  async (\w+)\(\) \{", (SOURCE / "client.ts").read_text(), re.MULTILINE)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled client: stubs by protoc-gen-es, types checked by the compiler."""
    modules = packages()
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "node_modules").symlink_to(modules)
    for name in ("package.json", "tsconfig.json", "client.ts"):
        shutil.copy(SOURCE / name, folder)
    (folder / "generated").mkdir()
    (common,) = (str(Path(path).parents[1]) for path in google.rpc.__path__)
    run(
        folder, sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}", f"-I{common}",
        f"--plugin=protoc-gen-es={modules}/.bin/protoc-gen-es", "--es_out=generated",
        "--es_opt=target=ts,import_extension=js",
        *map(str, sorted((ROOT / "protos" / "clipserve" / "v1").glob("*.proto"))),
        f"{common}/google/rpc/error_details.proto",
    )  # fmt: skip
    run(folder, str(modules / ".bin" / "tsc"))
    return folder / "js" / "client.js"


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_cases_are_found() -> None:
    assert {"embed", "error_details", "deadline"} <= set(CASES)


@pytest.mark.parametrize("form", ["json", "binary"])
@pytest.mark.parametrize("case", CASES)
def test_a_generated_client_of_typescript(live: Service, program: Path, case: str, form: str) -> None:
    picture = ROOT / "demo" / "pictures" / "sunflower.jpg"
    run(program.parent, "node", str(program), live.api, form, case, str(picture))
