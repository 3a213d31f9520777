"""Models for Triton whose speed and answers can be changed while they run."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from clipserve_exporter.config import Canary, ModelFacts, Serving, quoted, render
from clipserve_exporter.preprocessing import Preprocess
from clipserve_exporter.repository import write
from clipserve_exporter.tokenizer_facts import OPENAI
from clipserve_exporter.versions import CONFIG, FIRST_FORM, served_version
from clipserve_gateway.inputs import preprocess
from clipserve_gateway.inputs.tokenizer import tokenizer_for
from clipserve_gateway.types import TokenizerSpec
from PIL import Image

from faults.backend import answers
from testing.preprocessing import square

BACKEND = Path(__file__).parent / "backend"
CONTEXT = 77
SERVING = Serving(image_batch=4, text_batch=4)
"""Small batches, so that the delay decides the capacity; 64 items may wait."""
CANARY_TEXT = "a photo of a canary"
LIMITS = preprocess.ImageLimits(max_bytes=1 << 20, max_pixels=1 << 20)
NEVER = -1
"""A poison that no input holds."""

Mode = Literal["ok", "wrong", "nan", "shape", "error"]


@dataclass(frozen=True)
class Knobs:
    """What a model does with its next execution."""

    delay: float = 0.0
    """Seconds that each execution takes."""
    load: float = 0.0
    """Seconds that each tower takes to load."""
    mode: Mode = "ok"
    """`wrong` answers with other weights, `nan` with no numbers, `shape` with half of each embedding."""
    seed: int = 0
    """The weights, until others are exported."""
    poison: int = NEVER
    """A token (or pixel value) that turns the answer to its own item into NaN."""


@dataclass(frozen=True)
class DelayTower:
    """What is written of one tower."""

    config: str
    seed: int

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Code, and the seed that stands for weights."""
        for name in ("model.py", "answers.py"):
            yield name, (BACKEND / name).read_bytes()
        yield "seed", str(self.seed).encode()


class DelayModel:
    """A pair of towers in a repository, and the file that says how they behave."""

    def __init__(
        self, folder: Path, name: str = "delay", knobs: Knobs | None = None, serving: Serving = SERVING
    ) -> None:
        """Writes both towers into `folder`/models, a Triton repository; the knobs' file lies beside it."""
        self.name = name
        self.repository = folder / "models"
        self.knobs = knobs or Knobs()
        self._file = folder / f"{name}.json"
        self._serving = serving
        self._write_knobs()
        self.export(self.knobs.seed)

    def export(self, seed: int, *, text_length: str = "ragged") -> str:
        """Writes a version with other weights, as the exporter does; its fingerprint.

        With another `text_length` (ragged or fixed) the text tower has other inputs, and the same answers.
        """
        facts = replace(facts_of(self.name, seed), text_length=text_length)
        knobs = f'parameters {{ key: "knobs" value {{ string_value: {quoted(str(self._file))} }} }}\n'
        towers = {
            f"{self.name}_{tower}": DelayTower(render(facts, self._serving, tower) + knobs, seed)
            for tower in ("image", "text")
        }
        write(self.repository, towers)
        return facts.fingerprint

    def remove(self) -> None:
        """Takes both towers out of the repository, each at once."""
        for tower in ("image", "text"):
            folder = self.repository / f"{self.name}_{tower}"
            folder.rename(self._file.with_name(f"{folder.name}.removed"))
            shutil.rmtree(self._file.with_name(f"{folder.name}.removed"))

    def as_first_form(self) -> None:
        """Makes the only version one of the form that names no version, in the folder 1."""
        for tower in (self.repository / f"{self.name}_image", self.repository / f"{self.name}_text"):
            (tower / served_version(tower)).rename(tower / FIRST_FORM)
            lines = (tower / CONFIG).read_text().splitlines(keepends=True)
            (tower / CONFIG).write_text("".join(line for line in lines if "version" not in line[:40]))

    def turn(self, **changes: float | str) -> None:
        """Changes knobs, from the next execution on."""
        self.knobs = replace(self.knobs, **changes)  # type: ignore[arg-type]  # checked by whoever reads it
        self._write_knobs()

    def _write_knobs(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self.knobs)))
        os.replace(fresh, self._file)


def facts_of(name: str, seed: int) -> ModelFacts:
    """What the model's configuration says of it, its known answer included."""
    weights = hashlib.sha256(f"delay model, seed {seed}".encode()).hexdigest()
    png = canary_png()
    pixels = preprocess.load_image(png, *square(answers.SIDE), limits=LIMITS, fast=False)
    return ModelFacts(
        name=name,
        embed_dim=answers.DIM,
        preprocess=Preprocess(answers.SIDE, answers.SIDE, mean=(0.0,) * 3, std=(1.0,) * 3),
        tokenizer=OPENAI,
        context_length=CONTEXT,
        text_length="ragged",
        logit_scale=20.0,
        logit_bias=None,
        fingerprint=hashlib.sha256(f"{weights} {answers.DIM} {answers.SIDE}".encode()).hexdigest(),
        precision="fp32",
        format="python",
        architecture="clipserve-delay",
        pretrained="",
        weights_sha256=weights,
        torch_version="none",
        canary=Canary(
            image_png=base64.b64encode(png).decode(),
            image_embedding=packed(answers.of_images(pixels[None], seed)[0]),
            text=CANARY_TEXT,
            text_embedding=packed(raw_texts([CANARY_TEXT], seed)[0]),
        ),
    )


def canary_png() -> bytes:
    """A small picture with gradients."""
    y, x = np.mgrid[0 : answers.SIDE, 0 : answers.SIDE]
    file = io.BytesIO()
    Image.fromarray(np.stack([8 * x, 8 * y, 4 * (x + y)], axis=2).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def packed(embedding: answers.Floats) -> str:
    """float32 [D] as base64 of its little-endian bytes."""
    return base64.b64encode(embedding.astype("<f4").tobytes()).decode()


def raw_texts(texts: Sequence[str], seed: int = 0) -> answers.Floats:
    """What the model answers to texts: float32 [n, DIM]."""
    tokens = tokenizer_for(TokenizerSpec(CONTEXT)).encode(texts)
    return np.stack([answers.of_texts(np.asarray([token.ids], np.int32), seed)[0] for token in tokens])


def right_image(content: bytes, seed: int = 0) -> answers.Floats:
    """What the gateway answers to a picture: float32 [DIM] of length 1."""
    pixels = preprocess.load_image(content, *square(answers.SIDE), limits=LIMITS, fast=True)
    row = answers.of_images(pixels[None], seed)[0]
    return (row / float(np.linalg.norm(row))).astype(np.float32)


def right_texts(texts: Sequence[str], seed: int = 0) -> answers.Floats:
    """What the gateway answers: the same, each row of length 1, computed as the gateway does."""
    return np.stack([(row / float(np.linalg.norm(row))).astype(np.float32) for row in raw_texts(texts, seed)])
