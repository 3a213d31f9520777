"""Kinds of calls that make up a load."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from PIL import Image

from faults import ROOT
from faults.backend.answers import DIM

PHOTOS = 32
"""Of one call of embed_photos."""


@dataclass(frozen=True)
class Flow:
    """Calls of one kind: so many a second whatever becomes of them (open), or by so many callers (closed)."""

    name: str
    kind: str
    """A key of KINDS."""
    rate: float = 0.0
    """Calls a second; 0 for a closed flow."""
    callers: int = 0
    """Callers that make one call after the other; 0 for an open flow."""
    timeout: float = 10.0
    """Seconds that each call may take."""
    distinct: int = 0
    """Inputs that are used in turn; 0 never uses one twice."""
    priority: str = ""
    """Of the metadata x-clipserve-priority."""
    token: str = ""
    """The bearer token that is shown."""
    model: str = ""
    collection: str = ""
    dim: int = DIM
    """Numbers of the embeddings that are sent."""
    patience: float = 0.0
    """Seconds after which the caller cancels the call; 0 never does."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What is sent with each call."""
        priority = (("x-clipserve-priority", self.priority),) if self.priority else ()
        return (*priority, ("authorization", f"Bearer {self.token}")) if self.token else priority

    def input(self, call: int) -> int:
        """Which input a call uses."""
        return call % self.distinct if self.distinct else call


@dataclass(frozen=True)
class Kind:
    """How a call is made."""

    method: str
    request: Callable[[Flow, int], Any]


def text(number: int) -> str:
    """One of endlessly many texts."""
    return f"a photo of thing {number}"


def picture(number: int) -> bytes:
    """One of endlessly many small pictures, as PNG."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@functools.lru_cache(maxsize=1)
def photos() -> list[bytes]:
    """The demo's pictures, JPEGs."""
    return [file.read_bytes() for file in sorted((ROOT / "demo" / "pictures").glob("*.jpg"))]


def embedding(number: int, dim: int = DIM) -> bytes:
    """One of endlessly many embeddings: float32 [dim] of length exactly 1, so that nobody changes a bit.

    `dim` is a power of 4.
    """
    signs = np.random.default_rng(number).choice(np.array([-1, 1], np.float32), dim)
    return (signs / np.float32(np.sqrt(dim))).astype("<f4").tobytes()


def embed_text(flow: Flow, number: int) -> clip_pb2.EmbedRequest:
    return clip_pb2.EmbedRequest(model=flow.model, inputs=[clip_pb2.EmbedInput(text=text(number))])


def embed_image(flow: Flow, number: int) -> clip_pb2.EmbedRequest:
    image = common_pb2.Image(content=picture(number))
    return clip_pb2.EmbedRequest(model=flow.model, inputs=[clip_pb2.EmbedInput(image=image)])


def embed_batch(flow: Flow, number: int) -> clip_pb2.EmbedRequest:
    inputs = [clip_pb2.EmbedInput(text=text(number * 64 + n)) for n in range(64)]
    return clip_pb2.EmbedRequest(model=flow.model, inputs=inputs)


def embed_photo(flow: Flow, number: int) -> clip_pb2.EmbedRequest:
    return photos_from(flow, number, 1)


def embed_photos(flow: Flow, number: int) -> clip_pb2.EmbedRequest:
    return photos_from(flow, number * PHOTOS, PHOTOS)


def photos_from(flow: Flow, first: int, count: int) -> clip_pb2.EmbedRequest:
    found = (photos()[number % len(photos())] for number in range(first, first + count))
    inputs = [clip_pb2.EmbedInput(image=common_pb2.Image(content=photo)) for photo in found]
    return clip_pb2.EmbedRequest(model=flow.model, inputs=inputs)


def bad_image(flow: Flow, number: int) -> clip_pb2.EmbedRequest:
    image = common_pb2.Image(content=b"no picture %d" % number)
    return clip_pb2.EmbedRequest(model=flow.model, inputs=[clip_pb2.EmbedInput(image=image)])


def bad_request(flow: Flow, number: int) -> clip_pb2.EmbedRequest:
    return clip_pb2.EmbedRequest(model=flow.model)


def classify(flow: Flow, number: int) -> clip_pb2.ClassifyRequest:
    labels = clip_pb2.LabelSet(names=["cat", "dog", "bird"])
    images = [common_pb2.Image(content=picture(number))]
    return clip_pb2.ClassifyRequest(model=flow.model, images=images, labels=labels)


def search(flow: Flow, number: int) -> clip_pb2.SearchRequest:
    query = common_pb2.Embedding(float32_le=embedding(number, flow.dim))
    return clip_pb2.SearchRequest(collection=flow.collection, embedding=query, top_k=5)


def search_text(flow: Flow, number: int) -> clip_pb2.SearchRequest:
    return clip_pb2.SearchRequest(collection=flow.collection, text=text(number), top_k=5)


def upsert(flow: Flow, number: int) -> collection_pb2.UpsertPointsRequest:
    point = collection_pb2.PointInput(
        id=f"{flow.name}-{number}",
        embedding=common_pb2.Embedding(float32_le=embedding(number, flow.dim)),
    )
    return collection_pb2.UpsertPointsRequest(collection=flow.collection, points=[point])


def delete(flow: Flow, number: int) -> collection_pb2.DeletePointsRequest:
    return collection_pb2.DeletePointsRequest(collection=flow.collection, ids=[f"upsert-{number}"])


KINDS = {
    "embed_text": Kind("Embed", embed_text),
    "embed_image": Kind("Embed", embed_image),
    "embed_batch": Kind("Embed", embed_batch),
    "embed_photo": Kind("Embed", embed_photo),
    "embed_photos": Kind("Embed", embed_photos),
    "bad_image": Kind("Embed", bad_image),
    "bad_request": Kind("Embed", bad_request),
    "classify": Kind("Classify", classify),
    "search": Kind("Search", search),
    "search_text": Kind("Search", search_text),
    "upsert": Kind("UpsertPoints", upsert),
    "delete": Kind("DeletePoints", delete),
    "stream": Kind("EmbedStream", embed_batch),
}
