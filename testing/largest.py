"""The largest request of each RPC that the limits allow, and a world in which it has much to answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import grpc
import numpy as np
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2, labels_pb2
from google.protobuf.message import Message

from testing.hostile.bombs import until_serving
from testing.hostile.files import saved
from testing.hostile.sending import OPTIONS, Outcome, send

COLLECTION, ALIAS, LABELS = "largest", "largest_alias", "largest_labels"
KEPT = "largest_kept"
"""A collection that keeps its pictures."""
SECONDS = 300.0
"""Of one call."""
POINTS = 1_000
"""In the collection."""
LIST = 1_300
"""Texts in a point's payload that is a list: with more, a call of 256 points has too many fields."""
FIELDS = 64
TAGS, NOTE = "tags", "note"
FLOAT_LIST = common_pb2.EMBEDDING_FORMAT_FLOAT_LIST
ours = collection_pb2


class Largest(NamedTuple):
    """A request, and how it may end."""

    method: str
    request: Message
    codes: tuple[str, ...] = ("OK",)


def names() -> list[str]:
    """As many labels as a set may have."""
    return [f"label {i:05} {'x' * 20}" for i in range(10_000)]


def label_set() -> clip_pb2.LabelSet:
    """As many prompts as a set may have."""
    labels = clip_pb2.LabelSet(names=names(), templates=[f"a {i} photo of {{}}" for i in range(10)])
    labels.thresholds.extend([0.1] * len(labels.names))
    return labels


def wide_filter() -> common_pb2.Filter:
    """As many nodes and values as a filter may have."""
    value = common_pb2.Value(string_value="x")
    listed = common_pb2.Filter(in_list=common_pb2.InFilter(field=NOTE, values=[value] * 1_000))
    found = common_pb2.Filter()
    found.any_of.filters.extend([listed] * 4)
    one = common_pb2.Filter(eq=common_pb2.EqFilter(field=NOTE, value=value))
    found.any_of.filters.extend([one] * 90)
    nine = common_pb2.Filter()
    nine.all_of.filters.extend([one] * 99)
    found.any_of.filters.extend([nine] * 5)
    return found


def payload(i: int) -> dict[str, common_pb2.Value]:
    """A list of many texts, and many fields."""
    found = {f"f{n}": common_pb2.Value(int_value=i) for n in range(FIELDS - 2)}
    found[TAGS] = common_pb2.Value(string_list=common_pb2.StringList(values=["t"] * LIST))
    found[NOTE] = common_pb2.Value(string_value="n" * 50_000 if i % 7 == 0 else "n")
    return found


def schema() -> list[collection_pb2.PayloadField]:
    """As many fields as a schema may have."""
    kinds = {TAGS: common_pb2.PAYLOAD_TYPE_STRING_LIST, NOTE: common_pb2.PAYLOAD_TYPE_STRING}
    numbers = {f"f{n}": common_pb2.PAYLOAD_TYPE_INT for n in range(FIELDS - 2)}
    return [ours.PayloadField(name=name, type=kind) for name, kind in (kinds | numbers).items()]


def points(dim: int, first: int, number: int) -> collection_pb2.UpsertPointsRequest:
    """An upsert of so many points with the richest payloads."""
    vectors = np.random.default_rng(first).standard_normal((number, dim)).astype("<f4")
    return ours.UpsertPointsRequest(
        collection=COLLECTION,
        points=[
            ours.PointInput(
                id=f"point {first + i:06}",
                embedding=common_pb2.Embedding(float32_le=row.tobytes()),
                payload=payload(first + i),
            )
            for i, row in enumerate(vectors)
        ],
    )


async def build(channel: grpc.aio.Channel, dim: int) -> None:
    """A collection, an alias and label sets."""
    await must(
        channel,
        "CollectionService/CreateCollection",
        ours.CreateCollectionRequest(name=COLLECTION, schema=schema(), keep_sources=False),
    )
    for first in range(0, POINTS, 50):
        await must(channel, "CollectionService/UpsertPoints", points(dim, first, 50))
    await must(
        channel,
        "CollectionService/CreateCollection",
        ours.CreateCollectionRequest(name=KEPT, keep_sources=True),
    )
    picture = ours.PointInput(
        id="picture", image=common_pb2.Image(content=saved("JPEG", size=(4_000, 4_000)))
    )
    await must(
        channel,
        "CollectionService/UpsertPoints",
        ours.UpsertPointsRequest(collection=KEPT, points=[picture]),
    )
    alias = ours.Alias(name=ALIAS, collection=COLLECTION)
    await must(channel, "CollectionService/PutAlias", ours.PutAliasRequest(alias=alias))
    await must(
        channel, "LabelSetService/PutLabelSet", labels_pb2.PutLabelSetRequest(name=LABELS, labels=label_set())
    )


async def must(channel: grpc.aio.Channel, method: str, request: Message) -> Outcome:
    """A call that must succeed."""
    outcome = await send(channel, method, request.SerializeToString(), timeout=300)
    assert outcome.code == "OK", (method, outcome.code, outcome.message)
    return outcome


def largest(dim: int) -> Iterator[Largest]:
    """The requests; every RPC has one at least."""
    image = common_pb2.Image(content=saved("PNG", size=(64, 64)))
    raw = common_pb2.Image(raw=common_pb2.RawImage(rgb=bytes(240_000), width=400, height=200))
    big = common_pb2.Image(content=saved("PNG", size=(64, 64)) + bytes(250_000))
    ids = [f"point {i:06}" for i in range(256)]
    ref = clip_pb2.LabelSetRef(name=LABELS)
    text = "a photo of a dog " * 3_000
    pictures = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(image=big)] * 250)
    texts = clip_pb2.EmbedRequest(
        inputs=[clip_pb2.EmbedInput(text=f"{i} {text}") for i in range(256)], format=FLOAT_LIST
    )
    raws = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(image=raw)] * 250, format=FLOAT_LIST)
    filter = wide_filter()
    clip, collection, labels = "ClipService/", "CollectionService/", "LabelSetService/"
    yield Largest(
        clip + "Classify", clip_pb2.ClassifyRequest(images=[image] * 100, labels=label_set(), top_k=10_000)
    )
    yield Largest(
        clip + "Classify", clip_pb2.ClassifyRequest(images=[image] * 100, label_set=ref, top_k=10_000)
    )
    yield Largest(clip + "PrepareLabels", clip_pb2.PrepareLabelsRequest(labels=label_set()))
    one_each = clip_pb2.LabelSet(names=[f"other {name}" for name in names()])
    yield Largest(clip + "Classify", clip_pb2.ClassifyRequest(images=[image], labels=one_each, top_k=5))
    yield Largest(clip + "Classify", clip_pb2.ClassifyRequest(images=[big] * 250, label_set=ref, top_k=5))
    for request in (pictures, texts, raws):
        yield Largest(clip + "Embed", request)
        yield Largest(clip + "EmbedStream", clip_pb2.EmbedStreamRequest(request=request))
    vector = common_pb2.Embedding(float32_le=np.eye(1, dim, dtype="<f4").tobytes())
    search = clip_pb2.SearchRequest(collection=COLLECTION, embedding=vector, top_k=1_000)
    yield Largest(clip + "Search", search)
    grouped = clip_pb2.SearchRequest(
        collection=COLLECTION, embedding=vector, top_k=1_000, group_duplicates=True
    )
    yield Largest(clip + "Search", grouped)
    filtered = clip_pb2.SearchRequest(collection=COLLECTION, embedding=vector, top_k=1_000, filter=filter)
    yield Largest(clip + "Search", filtered)
    weighted = clip_pb2.SearchRequest(collection=COLLECTION, top_k=1_000)
    for _ in range(16):
        weighted.weighted.parts.append(clip_pb2.WeightedPart(weight=1, image=big))
    yield Largest(clip + "Search", weighted)
    yield Largest(clip + "GetServerInfo", clip_pb2.GetServerInfoRequest())
    yield Largest(
        collection + "CreateCollection",
        ours.CreateCollectionRequest(name=COLLECTION, schema=schema()),
        ("ALREADY_EXISTS",),
    )
    yield Largest(collection + "GetCollection", ours.GetCollectionRequest(name=COLLECTION))
    yield Largest(collection + "ListCollections", ours.ListCollectionsRequest(page_size=1_000))
    yield Largest(
        collection + "DeleteCollection", ours.DeleteCollectionRequest(name="nothing"), ("NOT_FOUND",)
    )
    yield Largest(collection + "PurgeCollection", ours.PurgeCollectionRequest(name=COLLECTION))
    yield Largest(
        collection + "PutAlias", ours.PutAliasRequest(alias=ours.Alias(name=ALIAS, collection=COLLECTION))
    )
    yield Largest(collection + "DeleteAlias", ours.DeleteAliasRequest(name="nothing"), ("NOT_FOUND",))
    yield Largest(collection + "ListAliases", ours.ListAliasesRequest(page_size=1_000))
    upsert = points(dim, POINTS, 50)
    yield Largest(collection + "UpsertPoints", upsert)
    yield Largest(collection + "UpsertPointsStream", ours.UpsertPointsStreamRequest(request=upsert))
    plain = ours.UpsertPointsRequest(collection=COLLECTION)
    for i in range(256):
        value = common_pb2.Value(string_value="n" * 65_000)
        plain.points.add(id=f"plain {i}", embedding=vector, payload={NOTE: value})
    yield Largest(collection + "UpsertPoints", plain)
    yield Largest(collection + "UpsertPointsStream", ours.UpsertPointsStreamRequest(request=plain))
    drawn = ours.UpsertPointsRequest(collection=COLLECTION)
    for i in range(250):
        drawn.points.add(id=f"drawn {i}", image=big)
    yield Largest(collection + "UpsertPoints", drawn)
    yield Largest(
        collection + "GetPoints", ours.GetPointsRequest(collection=COLLECTION, ids=ids, with_embeddings=True)
    )
    yield Largest(
        collection + "ScrollPoints",
        ours.ScrollPointsRequest(collection=COLLECTION, page_size=1_000, with_embeddings=True),
    )
    yield Largest(
        collection + "ScrollPoints",
        ours.ScrollPointsRequest(collection=COLLECTION, page_size=1_000, filter=filter),
    )
    yield Largest(
        collection + "GetThumbnail",
        ours.GetThumbnailRequest(collection=KEPT, id="picture", max_side=1_024),
    )
    yield Largest(collection + "CountPoints", ours.CountPointsRequest(collection=COLLECTION, filter=filter))
    yield Largest(collection + "DeletePoints", ours.DeletePointsRequest(collection=COLLECTION, filter=filter))
    yield Largest(
        collection + "DeletePoints",
        ours.DeletePointsRequest(collection=COLLECTION, ids=[f"{i}" + "x" * 500 for i in range(256)]),
    )
    migration = ("NOT_FOUND", "FAILED_PRECONDITION")
    yield Largest(
        collection + "StartMigration",
        ours.StartMigrationRequest(collection=COLLECTION, to_model="x"),
        migration,
    )
    yield Largest(
        collection + "SwitchMigration", ours.SwitchMigrationRequest(collection=COLLECTION), migration
    )
    yield Largest(
        collection + "RollBackMigration", ours.RollBackMigrationRequest(collection=COLLECTION), migration
    )
    yield Largest(collection + "EndMigration", ours.EndMigrationRequest(collection=COLLECTION), migration)
    yield Largest(
        labels + "PutLabelSet", labels_pb2.PutLabelSetRequest(name="largest_put", labels=label_set())
    )
    yield Largest(labels + "GetLabelSet", labels_pb2.GetLabelSetRequest(ref=ref))
    yield Largest(labels + "ListLabelSets", labels_pb2.ListLabelSetsRequest(page_size=1_000))
    yield Largest(
        labels + "DeleteLabelSet",
        labels_pb2.DeleteLabelSetRequest(ref=clip_pb2.LabelSetRef(name="nothing")),
        ("NOT_FOUND",),
    )
    # Refused, but read before that.
    many = collection_pb2.GetPointsRequest(collection=COLLECTION, ids=["x"] * 15_000_000)
    yield Largest(collection + "GetPoints", many, ("INVALID_ARGUMENT",))


class Answered(NamedTuple):
    """How a call ended: when, on the monotonic clock, and whether it should end so."""

    method: str
    begin: float
    end: float
    code: str
    message: str
    expected: bool


async def answers(address: str) -> list[Answered]:
    """Builds the world on a gateway, then sends the largest requests one after the other."""
    found = []
    await until_serving(address)
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        info = (await must(channel, "ClipService/GetServerInfo", clip_pb2.GetServerInfoRequest())).responses[
            0
        ]
        dim = info.models[0].ref.embed_dim
        await build(channel, dim)
        for it in largest(dim):
            data = it.request.SerializeToString()
            begin = time.monotonic()
            outcome = await send(channel, it.method, data, timeout=SECONDS)
            found.append(
                Answered(
                    it.method,
                    begin,
                    time.monotonic(),
                    outcome.code,
                    outcome.message,
                    outcome.code in it.codes,
                )
            )
    return found
