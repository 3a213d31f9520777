"""The oldest Python is the same in the package, the set-up, the command and the documents."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import click
import pytest
import tomllib
from clipserve_gateway.cli import OLDEST_PYTHON, check_python

from bootstrap.pythons import GATEWAY, MODELS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def test_the_sdk_keeps_the_oldest_python_of_the_set_up():
    assert PROJECT["requires-python"] == f">={dotted(MODELS[0])}"
    oldest = re.search(
        r"^OLDEST, NEWEST = (\d+), ", (ROOT / "bootstrap/__main__.py").read_text(), re.MULTILINE
    )
    assert oldest is not None
    assert MODELS[0] == (3, int(oldest[1]))


def test_the_gateway_asks_for_the_python_of_its_libraries():
    assert GATEWAY[0] == OLDEST_PYTHON
    [starlette] = [wanted for wanted in PROJECT["optional-dependencies"]["gateway"] if "starlette" in wanted]
    assert starlette.endswith(f"python_version >= '{dotted(OLDEST_PYTHON)}'")
    needed = importlib.metadata.metadata("starlette")["Requires-Python"]
    assert needed == f">={dotted(OLDEST_PYTHON)}"


def test_an_older_python_is_told_what_to_do():
    check_python(OLDEST_PYTHON)
    with pytest.raises(click.ClickException, match=r"needs Python 3\.11 or newer, and this is Python 3\.10"):
        check_python((3, 10))


@pytest.mark.parametrize("path", ["README.md", "docs/install.md"])
def test_the_documents_name_the_gateways_pythons(path):
    text = (ROOT / path).read_text()
    assert re.search(f"Python {dotted(GATEWAY[0])} to {dotted(GATEWAY[1])}", text)
