"""Writing a repository: whole, or as it was before; and which versions stay in service."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import torch
from clipserve_exporter import repository, staging
from clipserve_exporter.errors import ExportError
from clipserve_exporter.repository import TowerFiles, write
from clipserve_exporter.staging import PREFIX, locked
from clipserve_exporter.versions import CONFIG, policy_of, served_version, versioned
from torch import Tensor, nn


class Doubles(nn.Module):
    """A graph to save."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * 2


def files(config: str, python: bool = False) -> TowerFiles:
    return TowerFiles(config, torch.jit.script(Doubles()), python)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text() if path.suffix not in (".pt", ".pyc") else ""
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def versions(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def modified(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_every_model_gets_its_configuration_and_one_version(tmp_path: Path) -> None:
    out = tmp_path / "new" / "models"
    assert write(out, {"a_image": files("A"), "a_text": files("B")}) == [out / "a_image", out / "a_text"]
    version = served_version(out / "a_image")
    assert contents(out) == {
        f"a_image/{version}/model.pt": "",
        "a_image/config.pbtxt": versioned("A", version),
        f"a_text/{version}/model.pt": "",
        "a_text/config.pbtxt": versioned("B", version),
    }
    assert torch.jit.load(out / "a_image" / version / "model.pt")(torch.ones(1)) == 2
    assert [path.name for path in out.parent.iterdir()] == ["models"], "nothing is left beside it"


def test_the_python_form_has_its_server_beside_the_graph(tmp_path: Path) -> None:
    write(tmp_path, {"a_image": files("A", python=True)})
    version = tmp_path / "a_image" / served_version(tmp_path / "a_image")
    server = {path.name: path.read_text() for path in version.glob("*.py")}
    assert set(server) == {"model.py", "clipserve_process.py"}
    assert "class TritonPythonModel" in server["model.py"]
    for name, code in server.items():
        compile(code, name, "exec")


def test_a_version_is_a_positive_int64_of_the_files_written(tmp_path: Path) -> None:
    def number(config: str, python: bool = False) -> int:
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        write(out, {"a_image": files(config, python), "a_text": files("T")})
        found = {served_version(out / "a_image"), served_version(out / "a_text")}
        assert len(found) == 1, "both towers have the same"
        return int(found.pop())

    first = number("A")
    assert 2**62 <= first < 2**63
    assert number("A") == first
    assert len({first, number("B"), number("A", python=True)}) == 3


def test_another_export_of_a_name_is_served_beside_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, {"a_image": files("old", python=True), "b_image": files("other")})
    before = served_version(tmp_path / "a_image")
    write(tmp_path, {"a_image": files("new")})
    now = served_version(tmp_path / "a_image")
    assert now != before
    config = (tmp_path / "a_image" / CONFIG).read_text()
    assert config == versioned("new", now, [before])
    assert policy_of(config) == [before, now]
    assert versions(tmp_path / "a_image") == {before, now}
    assert len(versions(tmp_path / "b_image")) == 1, "others stay"


def test_older_versions_go_once_the_next_one_was_loaded(tmp_path: Path) -> None:
    def export(config: str) -> str:
        write(tmp_path, {"a_image": files(config), "a_text": files("T")})
        return served_version(tmp_path / "a_image")

    first, second, third = (export(name) for name in "ABC")
    assert policy_of((tmp_path / "a_text" / CONFIG).read_text()) == [first, second, third]
    fourth = export("D")
    assert versions(tmp_path / "a_image") == {second, third, fourth}, "no more than two older ones"
    for tower in ("a_image", "a_text"):
        os.utime(tmp_path / tower / CONFIG, (1, 1))
    fifth = export("E")
    assert versions(tmp_path / "a_image") == versions(tmp_path / "a_text") == {fourth, fifth}


def test_the_same_export_again_changes_nothing(tmp_path: Path) -> None:
    for config in ("A", "B", "B"):
        write(tmp_path, {"a_image": files(config)})
        before, now = contents(tmp_path), modified(tmp_path)
    write(tmp_path, {"a_image": files("B")})
    assert (contents(tmp_path), modified(tmp_path)) == (before, now)
    broken = tmp_path / "a_image" / served_version(tmp_path / "a_image") / "model.pt"
    broken.write_bytes(b"damaged")
    (tmp_path / "a_image" / CONFIG).write_text(before["a_image/config.pbtxt"] + "# changed")
    write(tmp_path, {"a_image": files("B")})
    assert contents(tmp_path) == before
    assert torch.jit.load(broken)(torch.ones(1)) == 2, "what was damaged is put right"
    os.utime(tmp_path / "a_image" / CONFIG, (1, 1))
    write(tmp_path, {"a_image": files("B")})
    assert versions(tmp_path / "a_image") == {served_version(tmp_path / "a_image")}, (
        "the older one is done with"
    )


TOKENIZER = 'parameters { key: "tower" value { string_value: "tokenizer" } }'


def test_a_tokenizer_has_the_version_of_the_towers(tmp_path: Path) -> None:
    write(tmp_path, {"a_image": files("A"), "a_text": files("B"), "a_tokenizer": files(TOKENIZER)})
    found = {served_version(tmp_path / f"a_{part}") for part in ("image", "text", "tokenizer")}
    assert len(found) == 1
    write(tmp_path, {"a_image": files("A"), "a_text": files("B"), "a_tokenizer": files(f"{TOKENIZER}\n#")})
    assert served_version(tmp_path / "a_text") not in found, "another tokenizer is another version"
    assert policy_of((tmp_path / "a_tokenizer" / CONFIG).read_text())[:1] == list(found)


def test_a_tokenizer_that_the_new_export_does_not_need_goes(tmp_path: Path) -> None:
    write(tmp_path, {"a_image": files("A"), "a_text": files("B"), "a_tokenizer": files(TOKENIZER)})
    write(tmp_path, {"a_image": files("A2"), "a_text": files("B2")}, obsolete=["a_tokenizer"])
    assert {path.name for path in tmp_path.iterdir()} == {"a_image", "a_text"}


def test_a_tokenizer_stays_if_the_new_export_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a_image": files("A"), "a_text": files("B"), "a_tokenizer": files(TOKENIZER)})
    before = contents(tmp_path)

    real_move = repository.move

    def last_move_fails(source: Path, target: Path, undo: contextlib.ExitStack) -> None:
        real_move(source, target, undo)
        if source.name == "a_tokenizer":
            raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(repository, "move", last_move_fails)
    with pytest.raises(ExportError, match="no space"):
        write(tmp_path, {"a_image": files("A2"), "a_text": files("B2")}, obsolete=["a_tokenizer"])
    assert contents(tmp_path) == before


def test_a_model_of_somebody_else_with_that_name_stays(tmp_path: Path) -> None:
    (tmp_path / "a_tokenizer").mkdir()
    (tmp_path / "a_tokenizer" / CONFIG).write_text('backend: "python"')
    write(tmp_path, {"a_image": files("A")}, obsolete=["a_tokenizer", "b_tokenizer"])
    assert (tmp_path / "a_tokenizer" / CONFIG).is_file()


def test_an_export_without_a_version_stays_served_until_the_new_one_is(tmp_path: Path) -> None:
    (tmp_path / "a_image" / "1").mkdir(parents=True)
    (tmp_path / "a_image" / "1" / "model.pt").write_bytes(b"old")
    (tmp_path / "a_image" / CONFIG).write_text("old")
    assert served_version(tmp_path / "a_image") == "1"
    write(tmp_path, {"a_image": files("new")})
    now = served_version(tmp_path / "a_image")
    assert policy_of((tmp_path / "a_image" / CONFIG).read_text()) == ["1", now]


def test_where_inputs_or_outputs_change_only_the_new_version_is_named(tmp_path: Path) -> None:
    def config(dim: int) -> str:
        return f'parameters {{ key: "embed_dim" value {{ string_value: "{dim}" }} }}\n'

    write(tmp_path, {"a_image": files(config(8))})
    write(tmp_path, {"a_image": files(config(16))})
    now = served_version(tmp_path / "a_image")
    assert policy_of((tmp_path / "a_image" / CONFIG).read_text()) == [now]
    assert versions(tmp_path / "a_image") == {now}


@pytest.mark.parametrize("failing", range(6))
def test_a_failure_while_moving_in_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    out = tmp_path / "models"
    write(out, {"a_image": files("old"), "a_text": files("old")})
    before, calls = contents(out), []

    def failing_once(real: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def move(path: Path, target: Path) -> Path:
            calls.append(path)
            if len(calls) == failing + 1:
                raise OSError("disk gone")
            return real(path, target)

        return move

    monkeypatch.setattr(Path, "rename", failing_once(Path.rename))
    monkeypatch.setattr(Path, "replace", failing_once(Path.replace))
    with pytest.raises(ExportError, match="disk gone"):
        write(out, {"a_image": files("new"), "a_text": files("new"), "b_text": files("new")})
    assert contents(out) == before
    assert not (out / "b_text").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_failure_while_preparing_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "models"
    write(out, {"a_image": files("old")})

    def full(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(repository, "write_version", full)
    with pytest.raises(ExportError, match=r"cannot write .*models: no space left"):
        write(out, {"a_image": files("new")})
    assert contents(out)["a_image/config.pbtxt"].startswith("old\n")
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "models"
    write(out, {"a_image": files("old", python=True)})
    before = contents(out)
    script = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from test_repository import ExportError, files, write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    write(Path(sys.argv[1]), {"a_image": files("new", python=True), "b_image": files("new", python=True)})
except ExportError as error:
    sys.exit(str(error))
"""
    for most in ("600", "4000"):
        command = [sys.executable, "-c", script, str(out), str(Path(__file__).parent), most]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert f"cannot write {out}: " in done.stderr
        assert "Traceback" not in done.stderr
        assert contents(out) == before
        assert [path.name for path in tmp_path.iterdir()] == ["models"]


STOPPED = """
import signal, sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from test_repository import files, repository, write
from clipserve_exporter.stopping import stoppable

def wait(*args):
    print("writing", flush=True)
    time.sleep(60)

setattr(repository, sys.argv[3], wait)
with stoppable():
    write(Path(sys.argv[1]), {"a_image": files("new"), "a_text": files("new")})
"""


@pytest.mark.parametrize(
    ("step", "inside"),
    [
        ("version_number", False),
        ("put_config", True),
        pytest.param("version_number", True, marks=pytest.mark.slow),
        pytest.param("put_config", False, marks=pytest.mark.slow),
    ],
)
def test_sigterm_leaves_nothing_behind(tmp_path: Path, step: str, inside: bool) -> None:
    out = tmp_path / "models"
    write(out, {"a_image": files("old")})
    before = contents(out)
    script = STOPPED
    if inside:
        script = script.replace(
            "setattr", "sys.modules['clipserve_exporter.staging'].beside = lambda out: False\nsetattr"
        )
    if step == "put_config":
        # In the middle of the renames the signal waits until they are done, or taken back.
        script = script.replace(
            "time.sleep(60)", "signal.raise_signal(signal.SIGTERM); raise OSError('gone')"
        )
    command = [sys.executable, "-c", script, str(out), str(Path(__file__).parent), step]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        if step != "put_config":
            process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert contents(out) == before
    assert {path.name for path in out.iterdir()} == {"a_image"}
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_what_a_killed_export_left_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "models"
    write(out, {"a_image": files("A")})
    left = [out / "a_image" / f"{PREFIX}x1", tmp_path / f"{PREFIX}models-x2"]
    others = tmp_path / f"{PREFIX}models-two-x3"
    for folder in (*left, others):
        folder.mkdir()
    write(out, {"a_image": files("A")})
    assert [folder.exists() for folder in left] == [False, False]
    assert others.exists(), "it may be in use"


def test_two_exports_at_once_write_one_after_the_other(tmp_path: Path) -> None:
    out = tmp_path / "models"
    write(out, {"a_image": files("A"), "a_text": files("A")})
    with ThreadPoolExecutor(2) as threads:
        with locked(out) as alone:
            assert alone
            writing = [
                threads.submit(write, out, {"a_image": files(name), "a_text": files(name)}) for name in "BC"
            ]
            assert not wait(writing, timeout=0.5).done, "they wait for the lock"
        for each in writing:
            each.result(30)
    image, text = ((out / tower / CONFIG).read_text() for tower in ("a_image", "a_text"))
    assert image == text
    assert image[0] in "BC"
    assert versions(out / "a_image") == set(policy_of(image))


def test_an_export_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "LOCK_SECONDS", 0.2)
    with locked(tmp_path), pytest.raises(ExportError, match="another export is writing to"):
        write(tmp_path, {"a_image": files("A")})


def test_where_folders_cannot_be_locked_exports_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EBADF, "bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write(tmp_path, {"a_image": files("A")})
    assert served_version(tmp_path / "a_image") != "1"


def test_files_are_prepared_inside_the_models_where_the_repository_is_a_file_system_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "beside", lambda out: False)
    real, seen = repository.write_version, set()

    def look(folder: Path, one: TowerFiles) -> None:
        real(folder, one)
        seen.update(str(path.relative_to(tmp_path).parent) for path in tmp_path.glob("**/new"))

    monkeypatch.setattr(repository, "write_version", look)
    write(tmp_path, {"a_image": files("A")})
    (place,) = seen
    assert place.startswith(f"a_image/{PREFIX}"), "not a folder that Triton would take for a model"
    assert {path.name for path in (tmp_path / "a_image").iterdir()} == {
        CONFIG,
        served_version(tmp_path / "a_image"),
    }
    monkeypatch.setattr(repository, "version_number", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path, {"b_image": files("B")})
    assert not (tmp_path / "b_image").exists()


def test_a_repository_of_its_own_file_system_is_told_apart() -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == shm.parent.stat().st_dev:
        pytest.skip("/dev/shm is not a file system of its own here")
    assert not staging.beside(shm)


def test_files_are_prepared_beside_the_repository_otherwise(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    assert staging.beside(tmp_path / "models")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot write"):
        write(tmp_path / "file" / "models", {"a_image": files("A")})
