"""What an audit looks at; a service that does not answer is not taken for a clean result."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bootstrap import audit

ROOT = Path(__file__).parents[2]


def test_every_package_of_an_image_is_looked_at():
    gateway, models = (audit.requirements(ROOT, part).splitlines() for part in ("gateway", "models"))
    assert any(line.startswith("lancedb==") for line in gateway)
    assert {line.partition("==")[0] for line in models} >= {"torch", "torchvision", "nvidia-pytriton", "timm"}
    assert not [line for line in (*gateway, *models) if "--hash" in line or "==" not in line]


@pytest.mark.parametrize(
    ("code", "errors", "wanted"),
    [
        (0, "No known vulnerabilities found", 0),
        (1, "Found 1 known vulnerability", 1),
        (1, "ConnectionError: x", 2),
        (0, "x could not be audited: x (1.0)", 2),
    ],
)
def test_the_exit_code_tells_clean_from_not_checked(monkeypatch, tmp_path, capsys, code, errors, wanted):
    done = subprocess.CompletedProcess([], code, "", errors)
    monkeypatch.setattr(audit.subprocess, "run", lambda *words, **options: done)
    monkeypatch.setattr(audit, "written", lambda root, part: tmp_path / part)
    assert audit.check(ROOT, "gateway") == wanted
    assert bool(capsys.readouterr().err) is (wanted == 2)
