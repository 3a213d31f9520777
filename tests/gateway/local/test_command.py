"""The command line and environment of tritonserver."""

from __future__ import annotations

from pathlib import Path

import pytest
from clipserve_gateway.local.command import environment, locale_of
from clipserve_gateway.local.install import TritonInstall

INSTALL = TritonInstall(
    binary=Path("/wheel/bin/tritonserver"),
    python_backend=Path("/wheel/backends/python"),
    stub=Path("/wheel/stub"),
    libpython=Path("/usr/lib/libpython3.11.so.1.0"),
    library_path=(Path("/run/first"), Path("/run/second")),
    models_env=Path("/run/env"),
)


@pytest.mark.parametrize(
    ("inherited", "added"),
    [
        ({}, {"LC_ALL": "C.UTF-8"}),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, {"LC_ALL": "C.UTF-8"}),
        ({"LANG": "de_DE.ISO-8859-1"}, {"LC_ALL": "C.UTF-8"}),
        ({"LANG": "de_DE.UTF-8"}, {}),
        ({"LC_ALL": "", "LC_CTYPE": "C.utf8"}, {}),
    ],
)
def test_the_locale_is_one_of_utf8(inherited: dict[str, str], added: dict[str, str]) -> None:
    assert locale_of(inherited) == added


def test_what_the_user_has_set_for_python_and_the_shell_does_not_reach_triton(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "BASH_ENV"):
        monkeypatch.setenv(name, "/mine")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/drivers")
    monkeypatch.delenv("HOME", raising=False)
    found = environment(INSTALL)
    assert "/mine" not in found.values()
    assert found["PYTHONUTF8"] == "1"
    assert found["LD_LIBRARY_PATH"] == "/run/first:/run/second:/drivers"
    assert found["PATH"].startswith("/run/env/bin:")
