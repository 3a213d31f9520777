"""Weights are found in files of any name and in the usual wrappings; other files are told apart."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.weights_file import is_torchscript, read_weights
from safetensors.torch import save_file
from torch import Tensor

WEIGHTS = {
    "logit_scale": torch.tensor(4.6),
    "visual.proj": torch.arange(12.0).reshape(3, 4),
    "token_embedding.weight": torch.ones(8, 2),
}


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in WEIGHTS.items()}


def assert_weights(path: Path) -> None:
    weights = read_weights(path)
    assert set(weights) == set(WEIGHTS)
    for name, value in WEIGHTS.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["w.safetensors", "W.SAFETENSORS", "w.pt", "weights", "w.bin.download"])
@pytest.mark.parametrize("save", [torch.save, save_file])
def test_the_name_of_a_file_says_nothing(tmp_path: Path, name: str, save: Callable[..., None]) -> None:
    save(WEIGHTS, str(tmp_path / name))
    assert_weights(tmp_path / name)


def test_files_of_torch_before_its_archives_are_read(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_weights(tmp_path / "old.pth")


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": WEIGHTS},
        {"model": WEIGHTS, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}, "epoch": 3},
        {"model_state_dict": WEIGHTS, "step": torch.tensor(3), "loss": 0.1},
        {"state_dict": {"model": WEIGHTS}},
        {"epoch": 1, "name": "x", "args": argparse.Namespace(lr=0.1), "state_dict": prefixed("module.")},
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        {"state_dict": prefixed("model.")},
        {"ema": WEIGHTS},
        prefixed("module.") | {"n_averaged": torch.tensor(3)},
        {"state_dict": prefixed("model.module.") | {"model.n_averaged": torch.tensor(3)}},
        {"model": WEIGHTS, "loss": np.float64(0.5), "kind": np.dtype("float32"), "path": Path("a")},
        {"model": WEIGHTS, "random": np.random.RandomState(0).get_state(), "scores": [np.float32(1)]},
        WEIGHTS | {"input_resolution": torch.tensor(224), "vocab_size": torch.tensor(49408)},
    ],
)
def test_the_usual_wrappings_are_taken_off(tmp_path: Path, wrapped: dict[str, Any]) -> None:
    torch.save(wrapped, tmp_path / "training.pt")
    assert_weights(tmp_path / "training.pt")


@pytest.mark.parametrize(
    "names", [("state_dict", "model"), ("net", "weights"), ("state_dict", "state_dict_ema")]
)
def test_of_several_sets_of_weights_none_is_guessed(tmp_path: Path, names: tuple[str, str]) -> None:
    torch.save(dict.fromkeys(names, WEIGHTS), tmp_path / "two.pt")
    with pytest.raises(ExportError, match=rf"several sets of weights \({names[0]}, {names[1]}\)"):
        read_weights(tmp_path / "two.pt")


def safetensors() -> bytes:
    from safetensors.torch import save

    return save(WEIGHTS)


def pointer(size: int = 605157884) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {size}\n".encode()


def header(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


def zipped(files: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(kind: int) -> bytes:
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w", format=kind) as archive:
        archive.addfile(tarfile.TarInfo("weights.pt"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (bytes(4096), "begins with zeros: its download was interrupted"),
        (pointer(), "is a Git LFS pointer .* `git lfs pull`"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
        (b"\xef\xbb\xbf\n <html>", "is a web page"),
        (json.dumps({"model_cfg": {"embed_dim": 32}}).encode(), "is JSON and not weights"),
        (json.dumps({"weight_map": {"a": "b.bin"}}).encode(), r"names 1 files, and b\.bin is missing"),
        (json.dumps({"weight_map": {"a": "../b"}}).encode(), r"names the file '\.\./b', which is not a file"),
        (b'{"weight_map": ', "is damaged JSON"),
        (gzip.compress(b"x"), "is compressed with gzip"),
        (b"no weights", "is not a file of weights"),
        (b"\x80\x02}q\x00.", "is not a file of weights, or it is damaged"),
        (safetensors()[:-1], r"is truncated: it has [\d,]+ of [\d,]+ bytes"),
        (safetensors()[:60], "is truncated: it has 60 of"),
        (safetensors()[:12], "is truncated: it has 12 of"),
        (header('{"a": 1}'), "is a damaged safetensors file"),
        (header("{nothing"), "is a damaged safetensors file"),
        (header("{}"), "contains no weights: it has no entries"),
        (header('{"a": ' + "[" * 100_000), "is a damaged safetensors file"),
        (header('{"a": {"data_offsets": [0, Infinity]}}'), "is a damaged safetensors file"),
        (header('{"a": {"data_offsets": [0, -8]}}'), "is a damaged safetensors file"),
        (zipped({"model.pt": b"x"}), "is a ZIP archive that torch.save did not write; unpack it first"),
        (tarred(tarfile.USTAR_FORMAT), "is a tar archive; unpack it first"),
        (tarred(tarfile.GNU_FORMAT), "is a tar archive; unpack it first"),
    ],
)
def test_what_else_a_file_is_is_said_in_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ExportError, match=rf"weights\.pt {sentence}") as raised:
        read_weights(tmp_path / "weights.pt")
    assert "weights_only" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_that_is_cut_off_is_told(tmp_path: Path, share: float, zipped: bool) -> None:
    path = tmp_path / "cut.pt"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ExportError, match=r"cut\.pt is (truncated|not a file of weights, or it is damaged)"):
        read_weights(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_cut_at_any_length_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "cut.pt"
    torch.save({"a": torch.ones(2), "b": torch.ones(1)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ExportError):
            read_weights(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_of_torch_is_read_or_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "damaged.pt"
    torch.save({"a": torch.ones(2), "b": torch.ones(1)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            assert read_weights(path)
        except ExportError:
            refused += 1
    assert refused > 20


def test_an_archive_with_a_damaged_list_of_entries_is_told(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "damaged.pt")
    whole = (tmp_path / "damaged.pt").read_bytes()
    (tmp_path / "damaged.pt").write_bytes(whole.replace(b"PK\1\2", b"PK\0\0"))
    with pytest.raises(ExportError, match=r"damaged\.pt is damaged: the list of its entries"):
        read_weights(tmp_path / "damaged.pt")


def test_a_wrapping_that_holds_itself_ends(tmp_path: Path) -> None:
    wrapping: dict[str, Any] = {}
    wrapping["model"] = wrapping
    torch.save(wrapping, tmp_path / "ring.pt")
    with pytest.raises(ExportError, match="contains no weights in its first 16 levels"):
        read_weights(tmp_path / "ring.pt")


def test_arrays_in_place_of_tensors_are_told(tmp_path: Path) -> None:
    torch.save({"model": {"visual.proj": np.ones(3)}}, tmp_path / "arrays.pt")
    with pytest.raises(ExportError, match=r"contains no weights: visual\.proj are NumPy arrays, not tensors"):
        read_weights(tmp_path / "arrays.pt")


def test_a_pipe_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ExportError, match="is a pipe or a device"):
            read_weights(path)


def test_a_torchscript_archive_is_told(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    with pytest.raises(ExportError, match=r"is a TorchScript archive; pass it with --pretrained"):
        read_weights(tmp_path / "script.pt")


def test_objects_that_could_run_code_are_refused_without_advice_to_run_them(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(
        ExportError,
        match=r"objects \(torch\.nn\.modules\.linear\.Linear\) .*run code. Save only the weights",
    ) as raised:
        read_weights(tmp_path / "module.pt")
    assert "weights_only" not in str(raised.value)


def test_the_index_of_several_files_stands_for_all_of_them(tmp_path: Path) -> None:
    names = list(WEIGHTS)
    save_file({names[0]: WEIGHTS[names[0]]}, str(tmp_path / "model-1.safetensors"))
    torch.save({name: WEIGHTS[name] for name in names[1:]}, tmp_path / "model-2.bin")
    files = ["model-1.safetensors", "model-2.bin", "model-2.bin"]
    index = {"metadata": {}, "weight_map": dict(zip(names, files, strict=True))}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_weights(tmp_path / "model.safetensors.index.json")


def test_an_index_does_not_name_another_index(tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a": "model.index.json"}})
    (tmp_path / "model.index.json").write_text(index)
    with pytest.raises(ExportError, match="is JSON and not weights"):
        read_weights(tmp_path / "model.index.json")


def test_a_mapping_without_tensors_names_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "log.pt")
    with pytest.raises(ExportError, match="contains no weights: it has only epoch, loss"):
        read_weights(tmp_path / "log.pt")


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be read"):
        read_weights(tmp_path)


@pytest.mark.parametrize("entry", ["archive/data/0", "archive/code/model.py"])
def test_an_archive_that_unpacks_to_much_more_is_not_read(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"")
        archive.writestr(entry, bytes(100 << 20))
    with pytest.raises(ExportError, match=r"would unpack to 104,857,600; torch.save does not compress"):
        is_torchscript(path)
    with pytest.raises(ExportError, match=r"would unpack to 104,857,600"):
        read_weights(path)
