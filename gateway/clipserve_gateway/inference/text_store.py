"""Embeddings of texts that many calls need, computed once for each model and kept in the store.

They are found by content: the model's fingerprint, TEXT_VERSION, and a digest of the texts. Those of the demo
model come with this package. Only texts of a closed list belong here: nothing removes them from the store.
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
"""Raise it when the same texts get other token ids, or prompts are averaged in another way: embeddings that
were kept before are then not used any more. A test says when that is."""
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
    """Normalized float32 [N, D], and how many texts were cut at the model's context."""

    matrix: Floats
    truncated: int


class TextStore:
    """Embeddings by content, shared by all gateways on one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get_or_make(
        self, spec: ModelSpec, digest: str, rows: int, make: Callable[[], Awaitable[TextEmbeddings]]
    ) -> TextEmbeddings:
        """The embeddings of the texts that `digest` names (`rows` of them): kept ones, or made and kept now.

        A store that cannot be written does not fail the call. Raises what `make` raises, and StorageFailed or
        StorageUnavailable where the store cannot be read.
        """
        found = await self.load(spec, digest, rows)
        if found is None:
            found = await make()
            with contextlib.suppress(ClipserveError):
                # Whoever came first wins: they are the same.
                await self._engine.put_document(
                    document_key(spec.fingerprint, digest), write_embeddings(found), version=0
                )
        return found

    async def load(self, spec: ModelSpec, digest: str, rows: int) -> TextEmbeddings | None:
        """The embeddings that come along or are kept; None if there are none."""
        shipped = (await asyncio.to_thread(shipped_embeddings)).get(document_key(spec.fingerprint, digest))
        if shipped is not None:
            return shipped
        document = await self._engine.get_document(document_key(spec.fingerprint, digest))
        return None if document is None else read_embeddings(document.value, rows, spec.embed_dim)


def data_lines(name: str) -> tuple[str, ...]:
    """The lines of a text file in data/ that are not empty, without the white space around them."""
    text = (DATA / name).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def document_key(fingerprint: str, digest: str) -> str:
    """Where the embeddings of some texts by a model are kept."""
    return f"{PREFIX}{TEXT_VERSION}/{fingerprint}/{digest}"


def content_key(*parts: object) -> str:
    """A hash that equals another exactly where all parts do."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


def write_embeddings(found: TextEmbeddings) -> bytes:
    """Embeddings as a document: truncated as uint32, then the matrix as float32, both little-endian."""
    return found.truncated.to_bytes(4, "little") + found.matrix.astype("<f4").tobytes()


def read_embeddings(value: bytes, rows: int, dim: int) -> TextEmbeddings | None:
    """The embeddings in a document; None where it holds another number of them."""
    if len(value) != 4 + 4 * rows * dim:
        return None
    matrix = np.frombuffer(value, "<f4", offset=4).reshape(rows, dim).astype(np.float32)
    return TextEmbeddings(matrix, int.from_bytes(value[:4], "little"))


@functools.cache
def known_texts() -> dict[str, str]:
    """Digests of the texts that belong into the store, by name. Tests hold them equal to the texts."""
    known: dict[str, str] = json.loads((DATA / "known_texts.json").read_text(encoding="utf-8"))
    return known


@functools.cache
def shipped_embeddings() -> dict[str, TextEmbeddings]:
    """The embeddings that come with this package, by document key. Read once, in some milliseconds.

    exporter/training/embed_labels.py and embed_prompts.py write them.
    """
    found = {}
    for file in SHIPPED:
        with (DATA / file).open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            fingerprint = str(arrays["fingerprint"])
            for name, digest in known_texts().items():
                if name in arrays.files:
                    matrix = arrays[name].astype(np.float32)
                    found[document_key(fingerprint, digest)] = TextEmbeddings(matrix, truncated=0)
    return found
