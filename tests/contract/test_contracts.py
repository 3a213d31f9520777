"""What must stay equal: stubs and protos; and what environments and imports must not bring."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
STUBS = ROOT / "client" / "clipserve" / "v1"


def test_the_stubs_are_those_of_the_protos(tmp_path):
    protos = sorted((ROOT / "protos" / "clipserve" / "v1").glob("*.proto"))
    outputs = [f"--{kind}={tmp_path}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}", *outputs, *map(str, protos)]
    subprocess.run(command, check=True)
    fresh = {path.name: path.read_text() for path in (tmp_path / "clipserve" / "v1").iterdir()}
    committed = {path.name: path.read_text() for path in STUBS.glob("*_pb2*")}
    assert committed == fresh, "run `make protos`"


def test_the_protos_are_clean():
    done = subprocess.run([BIN / "buf", "lint"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_only_the_settings_read_the_environment():
    for path in (ROOT / "gateway").rglob("*.py"):
        names = {
            node.attr if isinstance(node, ast.Attribute) else node.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute | ast.alias)
        }
        reads = names & {"environ", "getenv", "environb"}
        assert not reads or path.name == "settings.py", f"{path} uses {reads}"


def test_the_gateways_environment_has_no_torch():
    done = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("clipserve", {"PIL", "click", "rich", "torch"}),
        ("clipserve_gateway.server", {"lancedb", "torch", "open_clip"}),
    ],
)
def test_an_import_brings_nothing_heavy(module, forbidden):
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not forbidden & set(done.stdout.split())


def test_every_package_that_is_used_is_pinned():
    for name in ("gateway", "models"):
        lines = (ROOT / "constraints" / f"{name}.txt").read_text().splitlines()[1:]
        assert lines
        assert all("==" in line and "://" not in line for line in lines)


def test_client_and_gateway_have_the_same_limits_of_ids_and_uris():
    from clipserve.jobs import points as client
    from clipserve_gateway.index import values as gateway

    assert (client.MAX_ID_BYTES, client.MAX_URI_BYTES) == (gateway.MAX_ID_BYTES, gateway.MAX_URI_BYTES)
