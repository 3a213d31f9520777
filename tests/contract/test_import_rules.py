"""The rules of imports: they hold, and each one fails where it is broken."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"clipserve": "client", "clipserve_gateway": "gateway", "clipserve_exporter": "exporter"}

BREACHES = {
    "deployables": ("clipserve.calls.clip", "clipserve_gateway.errors"),
    "gateway-stands-alone": ("clipserve_gateway.convert.pages", "clipserve.labels"),
    "gateway-layers": ("clipserve_gateway.flow.lanes", "clipserve_gateway.inference.embedder"),
    "index-layers": ("clipserve_gateway.index.columns", "clipserve_gateway.index.lance.rows"),
    "grpc": ("clipserve_gateway.collection.search", "grpc"),
    "calls-without-grpc": ("clipserve_gateway.servicers.clip", "grpc"),
    "triton": ("clipserve_gateway.convert.common", "tritonclient"),
    "engine-libraries": ("clipserve_gateway.collection.points", "pyarrow"),
    "milvus-without-lance": ("clipserve_gateway.index.milvus.rows", "pyarrow"),
    "lance-without-milvus": ("clipserve_gateway.index.lance.rows", "pymilvus"),
    "pillow": ("clipserve_gateway.convert.clip", "PIL"),
    "http": ("clipserve_gateway.convert.clip", "starlette"),
    "client-layers": ("clipserve.transport.channel", "clipserve.tools.cli.app"),
    "tools-layers": ("clipserve.tools.parquet.read", "clipserve.tools.cli.app"),
    "client-libraries": ("clipserve.jobs.embed", "rich"),
}
"""For each rule, a module and an import that the rule forbids to it."""


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(folder / part) for part in PACKAGES.values()]
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--config", ROOT / ".importlinter"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "1000"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources without their data."""
    folder = tmp_path_factory.mktemp("sources")
    for package, part in PACKAGES.items():
        for path in (ROOT / part / package).rglob("*.py"):
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return folder


def source_of(folder: Path, module: str) -> Path:
    return folder / PACKAGES[module.partition(".")[0]] / f"{module.replace('.', '/')}.py"


@pytest.fixture(scope="module")
def complaints(copy: Path) -> str:
    """What is said of a copy in which every rule is broken, its lines joined."""
    for module, forbidden in BREACHES.values():
        with source_of(copy, module).open("a") as file:
            file.write(f"\nimport {forbidden}\n")
    return re.sub(r"\s+", " ", lint(copy).stdout)


def test_the_rules_hold():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_every_rule_has_a_breach():
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter")
    prefix = "importlinter:contract:"
    assert {name.removeprefix(prefix) for name in rules.sections() if name.startswith(prefix)} == set(
        BREACHES
    )


@pytest.mark.parametrize("rule", BREACHES)
def test_a_forbidden_import_is_found(complaints, rule):
    module, forbidden = BREACHES[rule]
    assert f"{module} -> {forbidden}" in complaints


def test_a_module_without_a_layer_is_found(tmp_path, copy):
    (tmp_path / "exporter").symlink_to(ROOT / "exporter")
    (tmp_path / "client").symlink_to(ROOT / "client")
    shutil.copytree(
        ROOT / "gateway", tmp_path / "gateway", ignore=shutil.ignore_patterns("data", "__pycache__")
    )
    (tmp_path / "gateway" / "clipserve_gateway" / "newcomer.py").touch()
    done = lint(tmp_path)
    assert done.returncode != 0
    assert "newcomer" in done.stdout + done.stderr
