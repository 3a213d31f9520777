"""Stores embeddings of texts that many calls need, so that each model computes them once.

Their key is the content: the model's fingerprint, TEXT_VERSION, and a digest of the texts. Those of the demo
model come with this package. Only texts of a fixed list belong here, because the store never removes them.
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
from typing import Protocol

import numpy as np

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.index.base import Engine
from clipserve_gateway.types import Embedded, Floats, ModelSpec

TEXT_VERSION = 1
"""Increase it when the same texts get other token ids, or prompts are averaged in another way: then stored
embeddings of older versions are not used any more. A test fails when that is necessary."""
PREFIX = "texts/"
DATA = resources.files("clipserve_gateway") / "data"
SHIPPED = ("demo_texts.npz", "demo_prompts.npz")
"""Files in DATA with embeddings of the demo model."""


class TextEmbedder(Protocol):
    """Embeds texts with a model."""

    async def embed_texts(self, spec: ModelSpec, texts: Sequence[str], deadline: Deadline) -> list[Embedded]:
        """Raw embeddings in order."""
        ...


@dataclass(frozen=True)
class TextEmbeddings:
    """Normalized float32 [N, D], and the number of texts truncated to the model's context."""

    matrix: Floats
    truncated: int


class TextStore:
    """Embeddings by content, which all gateways on one engine share."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get_or_make(
        self, spec: ModelSpec, digest: str, rows: int, make: Callable[[], Awaitable[TextEmbeddings]]
    ) -> TextEmbeddings:
        """The embeddings of the texts with this digest, `rows` of them: stored ones, or made and stored now.

        If they cannot be stored, the call succeeds nevertheless. Raises the errors of `make`, and
        StorageFailed or StorageUnavailable if the store cannot be read.
        """
        embeddings = await self.load(spec, digest, rows)
        if embeddings is None:
            embeddings = await make()
            with contextlib.suppress(ClipserveError):
                # If another gateway was first, its embeddings are the same.
                await self._engine.put_document(
                    document_key(spec.fingerprint, digest), write_embeddings(embeddings), version=0
                )
        return embeddings

    async def load(self, spec: ModelSpec, digest: str, rows: int) -> TextEmbeddings | None:
        """The embeddings from this package or the store; None if there are none."""
        shipped = (await asyncio.to_thread(shipped_embeddings)).get(document_key(spec.fingerprint, digest))
        if shipped is not None:
            return shipped
        document = await self._engine.get_document(document_key(spec.fingerprint, digest))
        return None if document is None else read_embeddings(document.value, rows, spec.embed_dim)


def data_lines(name: str) -> tuple[str, ...]:
    """The lines of a text file in data/, without surrounding white space and without empty lines."""
    text = (DATA / name).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def document_key(fingerprint: str, digest: str) -> str:
    """The key of the document with a model's embeddings of some texts."""
    return f"{PREFIX}{TEXT_VERSION}/{fingerprint}/{digest}"


def content_key(*parts: object) -> str:
    """A hash that is the same only for equal parts."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


def write_embeddings(embeddings: TextEmbeddings) -> bytes:
    """Embeddings as a document: truncated as uint32, then the matrix as float32, both little-endian."""
    return embeddings.truncated.to_bytes(4, "little") + embeddings.matrix.astype("<f4").tobytes()


def read_embeddings(value: bytes, rows: int, dim: int) -> TextEmbeddings | None:
    """The embeddings in a document; None if it has another number of rows or columns."""
    if len(value) != 4 + 4 * rows * dim:
        return None
    matrix = np.frombuffer(value, "<f4", offset=4).reshape(rows, dim).astype(np.float32)
    return TextEmbeddings(matrix, int.from_bytes(value[:4], "little"))


@functools.cache
def known_texts() -> dict[str, str]:
    """Digests of the texts that belong in the store, by name. A test compares them with the texts."""
    known: dict[str, str] = json.loads((DATA / "known_texts.json").read_text(encoding="utf-8"))
    return known


@functools.cache
def shipped_embeddings() -> dict[str, TextEmbeddings]:
    """The embeddings that come with this package, by document key. They are read once, in some milliseconds.

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
