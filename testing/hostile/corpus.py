"""All cases, by what they are sent as. The same families run against every gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from google.protobuf.message import Message

from testing.hostile.cases import Call, Item
from testing.hostile.checks import (
    call_faults,
    classify_faults,
    embed_faults,
    filter_faults,
    upsert_faults,
)
from testing.hostile.filters import FILTERS
from testing.hostile.ids import IDS
from testing.hostile.images import IMAGES
from testing.hostile.payloads import PAYLOADS, Payload
from testing.hostile.requests_clip import CLIP, INPUTS
from testing.hostile.requests_collections import COLLECTIONS
from testing.hostile.requests_points import LABEL_SETS, PAGES, POINTS
from testing.hostile.texts import TEXTS
from testing.hostile.vectors import vectors
from testing.hostile.wire import DEEP, DENSE, wire
from testing.hostile.world import COLLECTION, KEPT, World, axis

Family = Callable[[World], Awaitable[list[str]]]
"""Sends its cases, and says what went otherwise than promised."""
Image, EmbedInput, Point = common_pb2.Image, clip_pb2.EmbedInput, collection_pb2.PointInput
CODES = {"": "OK", "DIMENSION_MISMATCH": "FAILED_PRECONDITION"}


def within(case: Item[Any], path: str, make: Callable[[Any], Message]) -> Item[Any]:
    """The item as part of a larger one, in which its own field begins with `path`."""
    field = ".".join(part for part in (path, case.field) if part)
    return Item(case.name, lambda: make(case.value), case.reason, field)


def image_inputs() -> list[Item[clip_pb2.EmbedInput]]:
    """Images to embed."""
    return [within(it, "image.content", lambda file: EmbedInput(image=Image(content=file))) for it in IMAGES]


def text_inputs() -> list[Item[clip_pb2.EmbedInput]]:
    """Texts to embed."""
    return [within(it, "", lambda text: EmbedInput(text=text)) for it in TEXTS]


def image_points() -> list[Item[collection_pb2.PointInput]]:
    """Points made of images."""

    def point(case: Item[bytes]) -> Item[collection_pb2.PointInput]:
        return within(case, "image.content", lambda file: Point(id=case.name, image=Image(content=file)))

    return list(map(point, IMAGES))


def text_points() -> list[Item[collection_pb2.PointInput]]:
    """Points made of texts."""

    def point(case: Item[str]) -> Item[collection_pb2.PointInput]:
        return within(case, "", lambda text: Point(id=case.name, text=text))

    return list(map(point, TEXTS))


def other_points(dim: int) -> list[Item[collection_pb2.PointInput]]:
    """Points that are bad or odd in their embedding, their payload or their id."""
    sound = axis(3, dim)

    def of_vector(case: Item[common_pb2.Embedding]) -> Item[collection_pb2.PointInput]:
        return within(case, "embedding", lambda embedding: Point(id=case.name, embedding=embedding))

    def of_payload(case: Item[Payload]) -> Item[collection_pb2.PointInput]:
        return within(case, "", lambda payload: Point(id=case.name, embedding=sound, payload=payload))

    def of_id(case: Item[str]) -> Item[collection_pb2.PointInput]:
        return within(case, "id", lambda id: Point(id=id, embedding=sound))

    return [*map(of_vector, vectors(dim)), *map(of_payload, PAYLOADS), *map(of_id, IDS)]


def search(case: Item[Any], path: str, make: Callable[[Any], dict[str, Any]]) -> Call:
    """A search for the item."""

    def request() -> bytes:
        return clip_pb2.SearchRequest(collection=KEPT, **make(case.value)).SerializeToString()

    field = ".".join(part for part in (path, case.field) if part) if case.reason else ""
    code = CODES.get(case.reason, "INVALID_ARGUMENT")
    return Call(f"search for {case}", "ClipService/Search", request, code, case.reason, field)


def image_searches() -> list[Call]:
    """Images to look for."""
    return [search(it, "image.content", lambda file: {"image": Image(content=file)}) for it in IMAGES]


def text_searches() -> list[Call]:
    """Texts to look for."""
    return [search(it, "", lambda text: {"text": text}) for it in TEXTS]


def vector_searches(dim: int) -> list[Call]:
    """Embeddings to look for."""
    return [search(it, "embedding", lambda embedding: {"embedding": embedding}) for it in vectors(dim)]


def id_calls() -> list[Call]:
    """Ids to get, to delete and to look like."""
    found = []
    for method, field, make in (
        ("CollectionService/GetPoints", "ids[0]", lambda id: collection_pb2.GetPointsRequest(ids=[id])),
        ("CollectionService/DeletePoints", "ids[0]", lambda id: collection_pb2.DeletePointsRequest(ids=[id])),
        ("ClipService/Search", "like", lambda id: clip_pb2.SearchRequest(like=id)),
    ):
        for case in IDS:

            def request(make: Callable[[str], Any] = make, case: Item[str] = case) -> bytes:
                message = make(case.value)
                message.collection = COLLECTION if "Delete" in type(message).__name__ else KEPT
                return bytes(message.SerializeToString())

            code = CODES.get(case.reason, "INVALID_ARGUMENT")
            promised = (code, case.reason, field if case.reason else "")
            if field == "like" and not case.reason:
                promised = ("NOT_FOUND", "POINT_NOT_FOUND", "like")
            found.append(Call(f"{method} of {case}", method, request, *promised))
    return found


def filter_calls() -> list[Call]:
    """Filters in every call that takes one."""

    def call(method: str, message: Message, case: Item[common_pb2.Filter]) -> Call:
        def request() -> bytes:
            whole = type(message)()
            whole.CopyFrom(message)
            whole.filter.CopyFrom(case.value)
            return whole.SerializeToString()

        code = CODES.get(case.reason, "INVALID_ARGUMENT")
        return Call(f"{method} by {case}", method, request, code, case.reason, case.field)

    return [
        call(method, message, case)
        for method, message in (
            ("ClipService/Search", clip_pb2.SearchRequest(collection=KEPT, like="kept 0")),
            ("CollectionService/CountPoints", collection_pb2.CountPointsRequest(collection=KEPT)),
            ("CollectionService/ScrollPoints", collection_pb2.ScrollPointsRequest(collection=KEPT)),
            ("CollectionService/DeletePoints", collection_pb2.DeletePointsRequest(collection=COLLECTION)),
        )
        for case in FILTERS
    ]


def families(nth: int = 1) -> dict[str, Family]:
    """All cases; of images and texts, which are embedded whole, every n-th by the other ways too."""
    some = slice(None, None, nth)
    return {
        "images embedded": lambda world: embed_faults(world, image_inputs()),
        "images embedded in a stream": lambda world: embed_faults(world, image_inputs()[some], streamed=True),
        "images classified": lambda world: classify_faults(world, IMAGES[some]),
        "texts embedded": lambda world: embed_faults(world, text_inputs()),
        "inputs embedded": lambda world: embed_faults(world, INPUTS),
        "points of images written": lambda world: upsert_faults(world, image_points()[some]),
        "points of texts written": lambda world: upsert_faults(world, text_points()[some]),
        "other points written": lambda world: upsert_faults(world, other_points(world.dim)),
        "images searched for": lambda world: call_faults(world, image_searches()[some]),
        "texts searched for": lambda world: call_faults(world, text_searches()[some]),
        "vectors searched for": lambda world: call_faults(world, vector_searches(world.dim)),
        "filters": lambda world: call_faults(world, filter_calls()),
        "what filters find": lambda world: filter_faults(world, [it for it in FILTERS if not it.reason]),
        "ids": lambda world: call_faults(world, id_calls()),
        "requests of ClipService": lambda world: call_faults(world, CLIP),
        "requests about collections": lambda world: call_faults(world, COLLECTIONS),
        "requests about points": lambda world: call_faults(world, POINTS),
        "requests for pages": lambda world: call_faults(world, PAGES),
        "requests about label sets": lambda world: call_faults(world, LABEL_SETS),
        "bytes on the wire": lambda world: call_faults(world, wire(world.dim)),
        "messages in each other": lambda world: call_faults(world, DEEP),
        "messages of many parts": lambda world: call_faults(world, DENSE),
    }
