"""What a Triton is started with, where it logs, and how the ends of its children are seen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clipserve_gateway.local.children import ended_children, lacks_address_space, lacks_avx2, oom_kills
from clipserve_gateway.local.command import TritonPorts, environment, locale_of
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


def test_triton_logs_into_the_data_folder(tmp_path: Path) -> None:
    log = choose_log(None, str(tmp_path / "data"))
    assert log.path == tmp_path / "data" / "triton.log"
    assert choose_log(None, str(tmp_path / "data"), 2).path == tmp_path / "data" / "triton.log.2"
    log.close(keep=False)
    assert log.path.exists()


def test_a_given_log_is_taken(tmp_path: Path) -> None:
    assert choose_log(tmp_path / "it", str(tmp_path)).path == tmp_path / "it"
    assert choose_log(tmp_path / "it", str(tmp_path), 1).path == tmp_path / "it.1"


def test_the_log_of_another_gateway_on_the_same_data_is_left_alone(tmp_path: Path) -> None:
    first, second = (choose_log(None, str(tmp_path)) for _ in range(2))
    assert second.temporary
    assert second.path != first.path
    first.close(keep=False)
    second.close(keep=False)
    third = choose_log(None, str(tmp_path))
    assert third.path == first.path
    third.close(keep=False)


@pytest.mark.parametrize(
    "data", ["s3://bucket/folder", "milvus://host:19530", "milvus-lite:file", "/proc/none"]
)
@pytest.mark.parametrize("keep", [True, False])
def test_data_that_takes_no_log_means_a_temporary_one_which_stays_after_a_failure(
    data: str, keep: bool
) -> None:
    log = choose_log(None, data)
    assert log.path.exists()
    assert not log.path.is_relative_to("/proc")
    log.close(keep=keep)
    assert log.path.exists() == keep
    log.path.unlink(missing_ok=True)


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


def test_children_that_have_ended_tell_how_until_they_are_collected() -> None:
    codes = {-9: "import os; os.kill(os.getpid(), 9)", 3: "raise SystemExit(3)"}
    children = {
        subprocess.Popen([sys.executable, "-S", "-c", code]).pid: expected for expected, code in codes.items()
    }
    end = time.monotonic() + 10
    while not (found := ended_children(os.getpid())).keys() >= children.keys():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert found.items() >= children.items()
    for pid in children:
        os.waitpid(pid, 0)
    assert not ended_children(os.getpid()).keys() & children.keys()


def test_what_the_kernel_tells_of_memory_and_processor_is_read(tmp_path: Path) -> None:
    assert (oom_kills(tmp_path), lacks_avx2(tmp_path)) == (0, False)
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 3\n")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu sse4_2 avx\n")
    assert (oom_kills(tmp_path), lacks_avx2(tmp_path)) == (3, True)
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx avx2\n")
    assert not lacks_avx2(tmp_path)


def test_a_process_near_its_limit_of_address_space_has_no_room_for_a_thread(tmp_path: Path) -> None:
    assert not lacks_address_space(7, tmp_path), "it has ended"
    (tmp_path / "7").mkdir()
    limits, status = tmp_path / "7" / "limits", tmp_path / "7" / "status"
    status.write_text("Name:\tx\nVmPeak:\t 1493448 kB\nVmSize:\t 1493448 kB\n")
    line = "Max stack size            8388608              unlimited            bytes\n"
    for space, lacks in (("1536000000", True), ("1600000000", False), ("unlimited", False)):
        limits.write_text(f"{line}Max address space         {space}           unlimited            bytes\n")
        assert lacks_address_space(7, tmp_path) == lacks
    assert not lacks_address_space(os.getpid())
