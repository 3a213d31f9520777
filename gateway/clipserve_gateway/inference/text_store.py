"""Embeddings of texts that many calls need, computed once per model and kept in the store.

Their key is made of the model's fingerprint, TEXT_VERSION, and a digest of the texts. This package ships
those of the demo model. Only store texts of a closed list here: nothing removes them from the store.

The store only saves work: a call does not fail because the store cannot be read or written.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Generic, TypeVar

import numpy as np
from cachetools import LRUCache

from clipserve_gateway.errors import ClipserveError, StorageFailed, StorageUnavailable
from clipserve_gateway.flow.concurrency import KeyLocks
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.index.base import Engine
from clipserve_gateway.types import Floats

T = TypeVar("T")

TEXT_VERSION = 1
"""Increase it when the same texts get other token ids, or prompts are averaged in another way: older stored
embeddings are then ignored. A test fails when it must be increased."""
PREFIX = "texts/"
DATA = resources.files("clipserve_gateway") / "data"
SHIPPED = ("demo_texts.npz", "demo_prompts.npz")
"""Files in DATA with embeddings of the demo model."""
STEP = 256
"""Texts that FixedTexts embeds between two checks of the deadline."""
MODELS = 16
"""Models for which FixedTexts keeps embeddings in memory: about a megabyte each."""


@dataclass(frozen=True)
class TextEmbeddings:
    """Normalized float32 [N, D], and how many texts were cut at the model's context length."""

    matrix: Floats
    truncated: int


class TextStore:
    """Embeddings by content, which all gateways on one engine share."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get_or_make(
        self,
        fingerprint: str,
        digest: str,
        shape: tuple[int, int],
        make: Callable[[], Awaitable[TextEmbeddings]],
    ) -> TextEmbeddings:
        """The embeddings of the texts with this digest by a model, from the store or from `make`.

        `shape` is (number of texts, D). Stores what `make` returns. Raises only what `make` raises.
        """
        embeddings = await self.load(fingerprint, digest, shape)
        if embeddings is None:
            embeddings = await make()
            with contextlib.suppress(ClipserveError):
                # If another gateway was first, its embeddings stay: they are the same.
                key = document_key(fingerprint, digest)
                await self._engine.put_document(key, write_embeddings(embeddings), version=0)
        return embeddings

    async def load(self, fingerprint: str, digest: str, shape: tuple[int, int]) -> TextEmbeddings | None:
        """The embeddings that are shipped or stored.

        None if there are none of this shape, or the store cannot be read.
        """
        key = document_key(fingerprint, digest)
        shipped = (await asyncio.to_thread(shipped_embeddings)).get(key)
        if shipped is not None:
            return shipped if shipped.matrix.shape == shape else None
        document = None
        with contextlib.suppress(StorageFailed, StorageUnavailable):
            document = await self._engine.get_document(key)
        return None if document is None else read_embeddings(document.value, *shape)


class FixedTexts(Generic[T]):
    """The embeddings of one fixed list of texts by each model, kept in memory and in the store.

    They are computed once per model, in steps. One caller per model computes at a time; when its deadline
    passes, the next caller continues after the last finished step.

    Args:
        digest: identifies the texts in the store.
        store: None keeps the embeddings in memory only.
        convert: makes the value that `get` returns from the embeddings, normalized float32 [len(texts), D].
    """

    def __init__(
        self, texts: Sequence[str], digest: str, store: TextStore | None, convert: Callable[[Floats], T]
    ) -> None:
        self._texts = texts
        self._digest = digest
        self._store = store
        self._convert = convert
        self._values: LRUCache[tuple[str, int], T] = LRUCache(MODELS)
        """By fingerprint and dimension."""
        self._steps: LRUCache[tuple[str, int], list[TextEmbeddings]] = LRUCache(MODELS)
        self._locks: KeyLocks[tuple[str, int]] = KeyLocks()

    async def get(
        self,
        fingerprint: str,
        dim: int,
        latest: Callable[[], Deadline],
        embed: Callable[[Sequence[str], Deadline], Awaitable[TextEmbeddings]],
    ) -> T:
        """The value for one model.

        Args:
            fingerprint: of the model; `dim` is D.
            latest: the deadline, which may move while the call waits or computes.
            embed: embeds a step's texts with the model. Its errors are raised.
        """

        key = fingerprint, dim

        async def compute() -> TextEmbeddings:
            steps = self._steps.setdefault(key, [])
            while (start := len(steps) * STEP) < len(self._texts):
                latest().check("encode")
                steps.append(await embed(self._texts[start : start + STEP], latest()))
            matrix = np.concatenate([step.matrix for step in steps])
            return TextEmbeddings(matrix, sum(step.truncated for step in steps))

        async with self._locks.hold([key]):
            value = self._values.get(key)
            if value is None:
                if self._store is None:
                    embeddings = await compute()
                else:
                    shape = (len(self._texts), dim)
                    embeddings = await self._store.get_or_make(fingerprint, self._digest, shape, compute)
                value = self._values[key] = self._convert(embeddings.matrix)
                self._steps.pop(key, None)
            return value


def data_lines(name: str) -> tuple[str, ...]:
    """The non-empty lines of a text file in data/, stripped of white space."""
    text = (DATA / name).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def document_key(fingerprint: str, digest: str) -> str:
    """The key of the embeddings of the texts with this digest by a model."""
    return f"{PREFIX}{TEXT_VERSION}/{fingerprint}/{digest}"


def content_key(*parts: object) -> str:
    """A hash that is equal if and only if all parts are equal."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


def write_embeddings(embeddings: TextEmbeddings) -> bytes:
    """Embeddings as a document: truncated as uint32, then the matrix as float32, both little-endian."""
    return embeddings.truncated.to_bytes(4, "little") + embeddings.matrix.astype("<f4").tobytes()


def read_embeddings(value: bytes, rows: int, dim: int) -> TextEmbeddings | None:
    """The embeddings in a document; None if their number or dimension differs."""
    if len(value) != 4 + 4 * rows * dim:
        return None
    matrix = np.frombuffer(value, "<f4", offset=4).reshape(rows, dim).astype(np.float32)
    return TextEmbeddings(matrix, int.from_bytes(value[:4], "little"))


@functools.cache
def known_texts() -> dict[str, str]:
    """Digests of the texts that may be stored, by name. Tests compare them with the texts."""
    known: dict[str, str] = json.loads((DATA / "known_texts.json").read_text(encoding="utf-8"))
    return known


@functools.cache
def shipped_embeddings() -> dict[str, TextEmbeddings]:
    """The embeddings that this package ships, by document key. Read once, in a few milliseconds.

    exporter/training/embed_labels.py and embed_prompts.py write these files.
    """
    embeddings = {}
    for file in SHIPPED:
        with (DATA / file).open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            fingerprint = str(arrays["fingerprint"])
            for name, digest in known_texts().items():
                if name in arrays.files:
                    matrix = arrays[name].astype(np.float32)
                    embeddings[document_key(fingerprint, digest)] = TextEmbeddings(matrix, truncated=0)
    return embeddings
