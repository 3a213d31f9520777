"""What the cases are about: a collection, an alias and a label set, made on the gateway under test.

And the neighbors: a sound picture and a sound text that stand beside bad ones in every batch, and must get
the embeddings that they got when they were alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2, labels_pb2

from testing.hostile.files import saved
from testing.hostile.payloads import SCHEMA, Value, moment, tags, text
from testing.hostile.sending import Outcome, send

COLLECTION, ALIAS, LABELS = "hostile", "hostile_alias", "hostile_labels"
KEPT = "hostile_kept"
"""A collection that is only read."""
ANCHORS = {"hostile_anchor": COLLECTION, "hostile_kept_anchor": KEPT}
"""Aliases that keep the collections from being deleted."""
TOLERANCE = 1e-4
PICTURE, WORDS = saved("PNG", size=(64, 64)), "a photo of a dog"
"""The neighbors."""

PAYLOADS = (
    {"name": text("a"), "year": Value(int_value=2000), "tags": tags("x", "y")},
    {"name": text("' OR '1'='1"), "price": Value(double_value=0.5), "sold": Value(bool_value=True)},
    {"year": Value(int_value=-1), "taken": moment(0)},
    {},
)
"""Of the points `kept 0` … `kept 3`, which are in both collections."""


@dataclass(frozen=True)
class World:
    """One gateway with what the cases need, and what it answered before any of them."""

    channel: grpc.aio.Channel
    dim: int
    neighbors: np.ndarray
    """Normalized embeddings of picture and text: float32 [2, dim]."""

    async def embed(self, items: Sequence[clip_pb2.EmbedInput], *, streamed: bool = False) -> Outcome:
        """An Embed of these items between the neighbors."""
        request = clip_pb2.EmbedRequest(inputs=[PICTURE_INPUT, *items, TEXT_INPUT])
        if not streamed:
            return await send(self.channel, "ClipService/Embed", request.SerializeToString())
        batch = clip_pb2.EmbedStreamRequest(batch_id=7, request=request)
        return await send(self.channel, "ClipService/EmbedStream", batch.SerializeToString())

    def neighbors_fault(self, results: Sequence[clip_pb2.EmbedResult]) -> str:
        """What is wrong with the neighbors' embeddings; empty if nothing."""
        for name, expected, result in zip(
            ("picture", "text"), self.neighbors, (results[0], results[-1]), strict=True
        ):
            if result.status.code:
                return f"the sound {name} was refused: {result.status.message}"
            off = float(np.abs(vector(result.embedding) - expected).max())
            if not off <= TOLERANCE:
                return f"the sound {name} got an embedding that is off by {off}"
        return ""

    async def kept_fault(self) -> str:
        """What is wrong with the points that no case may change; empty if nothing."""
        request = collection_pb2.ScrollPointsRequest(collection=KEPT, with_embeddings=True)
        found = (await expect(self.channel, "CollectionService/ScrollPoints", request)).responses[0].points
        expected = kept_points(self.dim)
        same = [(point.id, vector(point.embedding).tobytes(), dict(point.payload)) for point in found] == [
            (point.id, vector(point.embedding).tobytes(), dict(point.payload)) for point in expected
        ]
        return "" if same else f"the kept points have changed: {str(found)[:300]}"


PICTURE_INPUT = clip_pb2.EmbedInput(image=common_pb2.Image(content=PICTURE))
TEXT_INPUT = clip_pb2.EmbedInput(text=WORDS)


def vector(embedding: common_pb2.Embedding) -> np.ndarray:
    """The numbers of an answer."""
    return np.frombuffer(embedding.float32_le, "<f4")


async def build(channel: grpc.aio.Channel) -> World:
    """Makes all that is missing, so that it may be called again on a world that was harmed."""
    request = clip_pb2.EmbedRequest(inputs=[PICTURE_INPUT, TEXT_INPUT])
    alone = await expect(channel, "ClipService/Embed", request)
    neighbors = np.stack([vector(result.embedding) for result in alone.responses[0].results])
    dim = neighbors.shape[1]
    for name in (COLLECTION, KEPT):
        made = collection_pb2.CreateCollectionRequest(name=name, schema=SCHEMA)
        await expect(channel, "CollectionService/CreateCollection", made, "OK", "ALREADY_EXISTS")
        await expect(channel, "CollectionService/UpsertPoints", points(name, kept_points(dim)))
    for name, collection in {ALIAS: COLLECTION, **ANCHORS}.items():
        alias = collection_pb2.Alias(name=name, collection=collection)
        await expect(channel, "CollectionService/PutAlias", collection_pb2.PutAliasRequest(alias=alias))
    labels = labels_pb2.PutLabelSetRequest(name=LABELS, labels=clip_pb2.LabelSet(names=["a cat", "a dog"]))
    await expect(channel, "LabelSetService/PutLabelSet", labels)
    return World(channel, dim, neighbors)


def kept_points(dim: int) -> list[collection_pb2.PointInput]:
    """Points with unit vectors."""
    return [
        collection_pb2.PointInput(id=f"kept {i}", embedding=axis(i, dim), payload=payload)
        for i, payload in enumerate(PAYLOADS)
    ]


def axis(i: int, dim: int) -> common_pb2.Embedding:
    """The i-th unit vector."""
    return common_pb2.Embedding(float32_le=np.eye(1, dim, i, dtype="<f4").tobytes())


def points(collection: str, found: Iterable[collection_pb2.PointInput]) -> collection_pb2.UpsertPointsRequest:
    """An upsert."""
    return collection_pb2.UpsertPointsRequest(collection=collection, points=found)


async def expect(channel: grpc.aio.Channel, method: str, request, *codes: str) -> Outcome:
    """A call that must end so; OK by default."""
    outcome = await send(channel, method, request.SerializeToString())
    assert outcome.code in (codes or ("OK",)), (method, outcome)
    return outcome
