"""Writing a repository: whole, or as it was before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clipserve_exporter import repository
from clipserve_exporter.errors import ExportError
from clipserve_exporter.repository import TowerFiles, write
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
        str(path.relative_to(folder)): path.read_text() if path.suffix != ".pt" else ""
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_model_gets_its_configuration_and_version_1(tmp_path: Path) -> None:
    out = tmp_path / "new" / "models"
    assert write(out, {"a_image": files("A"), "a_text": files("B")}) == [out / "a_image", out / "a_text"]
    assert contents(out) == {
        "a_image/1/model.pt": "",
        "a_image/config.pbtxt": "A",
        "a_text/1/model.pt": "",
        "a_text/config.pbtxt": "B",
    }
    assert torch.jit.load(out / "a_image" / "1" / "model.pt")(torch.ones(1)) == 2
    assert [path.name for path in out.parent.iterdir()] == ["models"], "nothing is left beside it"


def test_the_python_form_has_its_server_beside_the_graph(tmp_path: Path) -> None:
    write(tmp_path, {"a_image": files("A", python=True)})
    version = tmp_path / "a_image" / "1"
    server = {path.name: path.read_text() for path in version.glob("*.py")}
    assert set(server) == {"model.py", "clipserve_cores.py"}
    assert "class TritonPythonModel" in server["model.py"]
    for name, code in server.items():
        compile(code, name, "exec")


def test_an_older_export_is_replaced_whole_and_others_stay(tmp_path: Path) -> None:
    write(tmp_path, {"a_image": files("old", python=True), "b_image": files("other")})
    write(tmp_path, {"a_image": files("new")})
    assert contents(tmp_path) == {
        "a_image/1/model.pt": "",
        "a_image/config.pbtxt": "new",
        "b_image/1/model.pt": "",
        "b_image/config.pbtxt": "other",
    }


@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_a_failure_while_moving_in_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    out = tmp_path / "models"
    write(out, {"a_image": files("old"), "a_text": files("old")})
    before, real, calls = contents(out), Path.rename, []

    def rename(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == failing + 1:
            raise OSError("disk gone")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ExportError, match="disk gone"):
        write(out, {"a_image": files("new"), "a_text": files("new")})
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_failure_while_preparing_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "models"
    write(out, {"a_image": files("old")})

    def full(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(repository, "write_tower", full)
    with pytest.raises(ExportError, match=r"cannot write .*models: no space left"):
        write(out, {"a_image": files("new")})
    assert contents(out)["a_image/config.pbtxt"] == "old"


def test_files_are_prepared_inside_where_the_repository_is_a_file_system_of_its_own() -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == shm.parent.stat().st_dev:
        pytest.skip("/dev/shm is not a file system of its own here")
    assert repository.workshop(shm) == shm


def test_files_are_prepared_beside_the_repository_otherwise(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    assert repository.workshop(tmp_path / "models") == tmp_path


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot write"):
        write(tmp_path / "file" / "models", {"a_image": files("A")})
