"""Exports rows in a process of its own, with a limit on its memory. Needs open_clip.

    .venv-models/bin/python -m zoo.export_row '{"rows": ["vit-b-32"], "folder": …, "precisions": ["fp32"], …}'

Writes a JSON line for each step and each result on standard output.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"

BATCHES = ("--image-batch", "8", "--text-batch", "16", "--instances", "1")
"""Small batches: Triton's warmup runs the largest."""


@dataclass(frozen=True)
class Task:
    """What to export.

    Attributes:
        rows: names.
        folder: gets a folder for each row, with `reference.npz`.
        repository: gets `ROW` in fp32 and `ROW-PRECISION` in others.
        memory_bytes: limit of the process's data.
    """

    rows: list[str]
    folder: str
    repository: str
    precisions: list[str]
    memory_bytes: int


def say(**content: Any) -> None:
    """Writes one line for the process that waits."""
    print(json.dumps(content), flush=True)


def served_name(row: str, precision: str) -> str:
    """Under which a row in a precision is served."""
    return row if precision == "fp32" else f"{row}-{precision}"


def export_row(name: str, task: Task) -> dict[str, Any]:
    """Builds a row's model, notes what open_clip makes of the samples, and exports it; returns its facts."""
    import numpy as np
    import torch

    from zoo import samples
    from zoo.build import write_model
    from zoo.facts import key_of
    from zoo.reference import normalized, reference
    from zoo.rows import BY_NAME
    from zoo.tokenizer_kinds import kind_of

    row, folder = BY_NAME[name], Path(task.folder) / name
    source = folder / "source"
    pictures, texts = list(samples.pictures().values()), samples.texts()
    say(step=f"{name}: build")
    model = write_model(row, source)
    config = json.loads((source / "open_clip_config.json").read_text())["model_cfg"]
    if any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        shutil.rmtree(source)
        model = write_model(row, source, normalized(model, pictures))
    say(step=f"{name}: open_clip's own embeddings")
    expected = reference(model, source, pictures, texts)
    np.savez(folder / "reference.npz", **expected)
    architecture = open_clip_config(row.architecture)["text_cfg"]
    facts = {
        "embed_dim": expected["images"].shape[1],
        "image_size": list(expected["pixels"].shape[1:3]),
        "million_parameters": round(sum(one.numel() for one in model.parameters()) / 1e6, 1),
        "tokenizer": kind_of(architecture),
        "key": key_of(
            model,
            kind_of(architecture),
            config["text_cfg"].get("tokenizer_kwargs") or {},
            model.visual.preprocess_cfg,
        ),
    }
    del model
    refused = {}
    for precision in task.precisions:
        say(step=f"{name}: export in {precision}")
        try:
            run_export(source, served_name(name, precision), precision, task.repository)
        except Exception as error:
            if precision == "fp32":
                raise
            refused[precision] = str(error)[:300]
    shutil.rmtree(source)
    return facts | {"refused": refused}


def open_clip_config(architecture: str) -> dict[str, Any]:
    """open_clip's configuration of an architecture."""
    import open_clip

    return open_clip.get_model_config(architecture)


def run_export(source: Path, name: str, precision: str, repository: str) -> None:
    """Runs the exporter's command in this process."""
    from clipserve_exporter.cli import main

    words = ["--model", f"local-dir:{source}", "--name", name, "--precision", precision]
    main([*words, "--format", "python", "--out", repository, *BATCHES], standalone_mode=False)


def main() -> None:
    """Exports the rows of the task; one that fails does not stop the others."""
    task = Task(**json.loads(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_DATA, (task.memory_bytes, task.memory_bytes))
    logging.disable(logging.CRITICAL)
    for name in task.rows:
        begin = time.monotonic()
        try:
            facts = export_row(name, task)
        except Exception as error:
            traceback.print_exc()
            first = str(error).strip().splitlines() or [""]
            say(row=name, error=f"export: {type(error).__name__}: {first[0]}"[:300])
        else:
            say(row=name, facts=facts, seconds=round(time.monotonic() - begin, 1))


if __name__ == "__main__":
    main()
