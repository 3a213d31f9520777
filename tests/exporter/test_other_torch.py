"""Exports give the same embeddings in the releases of PyTorch that Triton's containers bring along."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import torch
from clipserve_exporter.samples import Texts
from clipserve_exporter.source import load
from clipserve_exporter.torchscript import export_image, export_text

from bootstrap.torch_index import problem, wanted_index

pytestmark = pytest.mark.slow

RELEASES = {
    "2.5.1": "Triton 24.10, which tests run",
    "2.12.1": "Triton 26.04, the newest for which NVIDIA names a release of PyTorch",
    "2.14.1": "newer than the one of 26.04, as Triton 26.11 has it (deploy/)",
}
LOWEST_COSINE = 1 - 1e-6
TEXTS = ([7], [3, 77, 2], [2, 3, 4, 5, 6, 7, 8, 40])
"""Lengths of the texts of each batch, in tokens."""

RUN = """
import sys
import numpy as np, torch
folder = sys.argv[1]
inputs = np.load(f"{folder}/inputs.npz")
tensors = {name: torch.from_numpy(inputs[name]) for name in inputs.files}
towers = {name: torch.jit.load(f"{folder}/{name}.pt") for name in ("image", "text")}
found = {}
with torch.no_grad():
    for name in inputs.files:
        tower, number, *part = name.split("-")
        if tower == "image":
            found[name] = towers["image"](tensors[name]).numpy()
        elif part == ["tokens"]:
            found[f"text-{number}"] = towers["text"](tensors[name], tensors[f"text-{number}-lengths"]).numpy()
np.savez(f"{folder}/{sys.argv[2]}.npz", **found)
print(torch.__version__)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both towers of the demo model, inputs for them, and what this release of PyTorch answers."""
    folder = tmp_path_factory.mktemp("exports")
    source = load("demo")
    export_image(source, "fp32").save(str(folder / "image.pt"))
    export_text(source, "fp32").save(str(folder / "text.pt"))
    rng = np.random.default_rng(0)
    size = source.preprocess.height
    inputs = {f"image-{n}": rng.integers(0, 256, (n, size, size, 3), np.uint8) for n in (1, 3, 8)}
    for number, lengths in enumerate(TEXTS):
        texts = [row.numpy() for row in Texts(source).rows(rng, lengths)]
        inputs[f"text-{number}-tokens"] = np.concatenate(texts).astype(np.int32)
        inputs[f"text-{number}-lengths"] = np.array(lengths, np.float32)[:, None]
    np.savez(folder / "inputs.npz", **inputs)
    assert run(sys.executable, folder, "here") == torch.__version__
    return folder


def run(python: str | Path, folder: Path, name: str) -> str:
    """Lets a Python answer the inputs into NAME.npz; the release of its PyTorch."""
    done = subprocess.run(
        [python, "-c", RUN, folder, name], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def install(python: Path, release: str) -> None:
    """Installs PyTorch: a build without CUDA where there is an index of them."""
    index = wanted_index("cpu", os.environ)
    more = [] if not index or problem(index) else ["--extra-index-url", index]
    command = [python, "-m", "pip", "install", "-q", *more, f"torch=={release}", "numpy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("release", RELEASES)
def test_both_towers_answer_the_same(release: str, folder: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    install(python, release)
    assert run(python, folder, release).partition("+")[0] == release
    expected, found = np.load(folder / "here.npz"), np.load(folder / f"{release}.npz")
    assert sorted(found.files) == sorted(expected.files)
    assert len(expected.files) == 3 + len(TEXTS)
    for name in expected.files:
        ours, theirs = expected[name], found[name]
        assert theirs.shape == ours.shape
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        assert ((ours * theirs).sum(axis=1) / norms).min() >= LOWEST_COSINE, name
