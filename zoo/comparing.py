"""Compares a served row with what open_clip makes of the samples."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import clipserve
import numpy as np
import numpy.typing as npt
from clipserve_gateway.inputs.image_limits import ImageLimits
from clipserve_gateway.inputs.preprocess import load_image
from clipserve_gateway.inputs.tokenizer import tokenizer_for
from clipserve_gateway.triton.client import TritonEncoder
from clipserve_gateway.triton.model_config import parse_model
from clipserve_gateway.triton.tokenizer_loader import TokenizerLoader
from clipserve_gateway.types import ImageRules, ModelSpec, Tokens

from zoo import samples

Floats = npt.NDArray[np.float32]
BOUNDS = {"fp32": 0.99999, "bf16": 0.999, "fp16": 0.999}
"""Smallest accepted cosine with open_clip, by precision: what the exporter demands too."""
MOST_ALIKE = 0.99995
"""If all different inputs are more alike than this, a comparison shows too little."""
LIMITS = ImageLimits(max_bytes=2**25, max_pixels=10**8)
MODELS = ("_image", "_text", "_tokenizer")
"""Endings of the names of a model's Triton models."""
MOST_BUSY = 0.2
"""Share of the processors' time above which other programs disturb a measurement."""
IMAGES, TEXTS, CALLERS = 8, 32, 2
"""Items of a call and number of callers while speed is measured."""


class Known(NamedTuple):
    """What the gateway knows of a served model."""

    spec: ModelSpec
    text_length: str
    """`ragged`, `masked` or `fixed`."""


def known_of(triton: str, model: str) -> Known:
    """What the gateway knows of a model, read from Triton."""

    async def ask() -> Known:
        encoder = TritonEncoder(triton)
        try:
            image, text = await encoder.towers([f"{model}_image", f"{model}_text"], 10.0)
            return Known(parse_model(image, text), text.parameters["text_length"])
        finally:
            await encoder.close()

    return asyncio.run(ask())


def same_pixels(spec: ModelSpec, pictures: Sequence[bytes], expected: npt.NDArray[np.uint8]) -> int:
    """How many pictures the gateway turns into the very pixels of open_clip's transform."""
    rules = ImageRules()
    loaded = [load_image(one, spec.preprocess, rules, limits=LIMITS, fast=False) for one in pictures]
    return sum(np.array_equal(ours, theirs) for ours, theirs in zip(loaded, expected, strict=True))


def same_ids(spec: ModelSpec, triton: str, texts: Sequence[str], expected: npt.NDArray[np.int64]) -> int:
    """How many texts the gateway turns into the very ids of open_clip's tokenizer, padding included."""
    same = 0
    for tokens, theirs in zip(tokenized(spec, triton, texts), expected, strict=True):
        row = np.full(expected.shape[1], spec.tokenizer.pad_id, np.int64)
        row[: len(tokens.ids)] = tokens.ids
        same += np.array_equal(row, theirs)
    return same


def tokenized(spec: ModelSpec, triton: str, texts: Sequence[str]) -> list[Tokens]:
    """What the gateway's tokenizer of a model, loaded from Triton, makes of texts."""

    async def ask() -> list[Tokens]:
        encoder, loader = TritonEncoder(triton), TokenizerLoader()
        try:
            if failure := await loader.load(spec, encoder):
                raise RuntimeError(failure.detail)
            return await asyncio.to_thread(tokenizer_for(spec.tokenizer).encode, list(texts))
        finally:
            loader.close()
            await encoder.close()

    return asyncio.run(ask())


def min_cosine(ours: Floats, theirs: Floats) -> float:
    """The smallest cosine of two float32 [N, D], row by row; both L2-normalized."""
    return float((ours.astype(np.float64) * theirs).sum(axis=1).min())


def likeness(rows: Floats) -> float:
    """The mean of each row's smallest cosine with another row: 1.0 if all inputs look alike."""
    return float((rows @ rows.T).min(axis=1).mean())


def cosines(
    client: clipserve.Client, model: str, pictures: Sequence[bytes], texts: Sequence[str], expected: Any
) -> dict[str, float]:
    """The smallest cosines of what the SDK gets with open_clip's embeddings."""
    images = client.embed_images(list(pictures), model=model).embeddings
    words = client.embed_texts(list(texts), model=model).embeddings
    return {
        "image_cosine": min_cosine(images, expected["images"]),
        "text_cosine": min_cosine(words, expected["texts"]),
    }


def rate(call: Callable[[], Any], items: int, seconds: float) -> float:
    """Items a second of CALLERS threads that call one after another for at least `seconds`."""
    counts = [0] * CALLERS
    begin = time.monotonic()

    def run(number: int) -> None:
        while not counts[number] or time.monotonic() - begin < seconds:
            call()
            counts[number] += items

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begin)


def others_are_busy(seconds: float = 1.0) -> bool:
    """Whether other programs use the processors, while the service rests."""
    busy, total = processor_time()
    time.sleep(seconds)
    later = processor_time()
    return later[0] - busy > MOST_BUSY * (later[1] - total)


def processor_time() -> tuple[int, int]:
    """Clock ticks in which the processors worked, and all clock ticks, since the machine started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def speeds(client: clipserve.Client, model: str, seconds: float) -> dict[str, float]:
    """Photographs and captions a second, end to end. No input is sent twice, since equal ones share work."""
    photos = list(samples.photos().values())
    calls = itertools.count()

    def embed_images() -> None:
        begin = next(calls) * IMAGES
        numbers = range(begin, begin + IMAGES)
        # Decoders ignore what follows the end of a JPEG file.
        client.embed_images([photos[i % len(photos)] + str(i).encode() for i in numbers], model=model)

    def embed_texts() -> None:
        begin = next(calls) * TEXTS
        client.embed_texts([f"a photo of the number {begin + i}" for i in range(TEXTS)], model=model)

    return {
        "images_per_second": rate(embed_images, IMAGES, seconds),
        "texts_per_second": rate(embed_texts, TEXTS, seconds),
    }


def size_on_disk(repository: Path, model: str) -> int:
    """Bytes of a model's files."""
    folders = repository.glob(f"{model}_*")
    towers = [
        place for place in folders if place.name.removeprefix(model) in ("_image", "_text", "_tokenizer")
    ]
    return sum(file.stat().st_size for place in towers for file in place.rglob("*") if file.is_file())
