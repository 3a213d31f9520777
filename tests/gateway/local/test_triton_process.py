"""The log of a Triton process, and what it says of its models."""

from __future__ import annotations

import os
from pathlib import Path

from clipserve_gateway.local.command import TritonPorts
from clipserve_gateway.local.install import TritonInstall
from clipserve_gateway.local.run_folder import temporary_folder
from clipserve_gateway.local.triton_log import choose_log
from clipserve_gateway.local.triton_process import TritonProcess

INSTALL = TritonInstall(
    binary=Path("/wheel/bin/tritonserver"),
    python_backend=Path("/wheel/backends/python"),
    stub=Path("/wheel/stub"),
    libpython=Path("/usr/lib/libpython3.11.so.1.0"),
    library_path=(Path("/run/first"), Path("/run/second")),
    models_env=Path("/run/env"),
)


async def test_the_log_tells_of_paths_as_the_user_knows_them_and_which_models_are_lost(
    tmp_path: Path,
) -> None:
    repository = tmp_path / "my models"
    for tower in ("demo_image", "demo_text"):
        (repository / tower).mkdir(parents=True)
        (repository / tower / "config.pbtxt").touch()
    temporary = temporary_folder({})
    folder = Path(temporary.name)
    log = choose_log(None, str(tmp_path))
    triton = TritonProcess(INSTALL, repository, TritonPorts(1, 2, 3), temporary, log)
    triton.log.write_text("I1130 loading\n")
    assert not triton.has_lost_all()
    failed = (
        f"\"failed to load 'demo_text' version 1: Internal: ValueError: {folder}/models/demo_text is bad\""
    )
    triton.log.write_text(failed + "\n")
    assert triton.has_lost_all()
    diagnosis = triton.diagnose(None, "")
    assert diagnosis.cause == f"Triton cannot load demo_text: ValueError: {repository}/demo_text is bad."
    (repository / "other_text").mkdir()
    (repository / "other_text" / "config.pbtxt").touch()
    assert not triton.has_lost_all(), "another model may yet be right"
    await triton.stop()
    assert folder.name not in os.listdir(folder.parent)
