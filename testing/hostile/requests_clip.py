"""Calls of ClipService that are messages, but ask for what cannot be had."""

from __future__ import annotations

import math

from clipserve.v1 import clip_pb2, common_pb2
from google.protobuf.message import Message

from testing.hostile.cases import ANSWERED, UNREADABLE, Call, Item
from testing.hostile.requests import BAD, HUGE, INVALID, LIMIT, MEGABYTE, MISSING, NAMES, REFUSED, call
from testing.hostile.requests_classify import CLASSIFY
from testing.hostile.world import COLLECTION, WORDS

Image, RawImage, EmbedInput = common_pb2.Image, common_pb2.RawImage, clip_pb2.EmbedInput


def raw(rgb: bytes, width: int, height: int) -> EmbedInput:
    """Pixels."""
    return EmbedInput(image=Image(raw=RawImage(rgb=rgb, width=width, height=height)))


def embed(name: str, field: str, reason: str = INVALID, code: str = BAD, **changes: object) -> Call:
    """An Embed that is sound but for these fields."""
    facts: dict = {"inputs": [EmbedInput(text=WORDS)]} | changes
    return call(
        f"embed {name}", "ClipService/Embed", lambda: clip_pb2.EmbedRequest(**facts), code, reason, field
    )


def search(name: str, field: str, reason: str = INVALID, code: str = BAD, **changes: object) -> Call:
    """A Search that is sound but for these fields."""

    def make() -> Message:
        query = set(changes) & {"text", "image", "embedding", "like", "weighted"}
        facts: dict = {"collection": COLLECTION} | ({} if query else {"text": WORDS}) | changes
        return clip_pb2.SearchRequest(**facts)

    return call(f"search {name}", "ClipService/Search", make, code, reason, field)


def weighted(*parts: tuple[float, str | common_pb2.Embedding]) -> clip_pb2.WeightedQuery:
    """A query of several texts or embeddings."""
    return clip_pb2.WeightedQuery(
        parts=[
            clip_pb2.WeightedPart(weight=weight, text=what)
            if isinstance(what, str)
            else clip_pb2.WeightedPart(weight=weight, embedding=what)
            for weight, what in parts
        ]
    )


INPUTS: list[Item[EmbedInput]] = [
    Item("input not set", lambda: EmbedInput(), INVALID),
    Item("image not set", lambda: EmbedInput(image=Image()), UNREADABLE, "image.content"),
    Item("raw image not set", lambda: EmbedInput(image=Image(raw=RawImage())), INVALID, "image.raw.width"),
    Item("raw image 0 wide", lambda: raw(b"", 0, 5), INVALID, "image.raw.width"),
    Item("raw image 0 high", lambda: raw(b"", 5, 0), INVALID, "image.raw.height"),
    Item("raw image a byte short", lambda: raw(bytes(11), 2, 2), INVALID, "image.raw.rgb"),
    Item("raw image a byte long", lambda: raw(bytes(13), 2, 2), INVALID, "image.raw.rgb"),
    Item("raw image of gray", lambda: raw(bytes(4), 2, 2), INVALID, "image.raw.rgb"),
    Item("raw image of 2³²−1 square", lambda: raw(b"", 2**32 - 1, 2**32 - 1), INVALID, "image.raw.rgb"),
    Item("raw image whose size overflows", lambda: raw(bytes(12), 2**31, 2**31), INVALID, "image.raw.rgb"),
    Item(
        "raw image of a long row", lambda: raw(bytes(3_000_003), 1_000_001, 1), "IMAGE_TOO_LARGE", "image.raw"
    ),
    Item("raw image of one pixel", lambda: raw(b"abc", 1, 1), ANSWERED),
    Item("raw image of a million rows", lambda: raw(bytes(3_000_000), 1, 1_000_000), ANSWERED),
]
"""Inputs of Embed; fields are within the input."""


EMBED: list[Call] = [
    embed("nothing", "inputs", inputs=[]),
    embed("257 inputs", "inputs", LIMIT, inputs=[EmbedInput(text="a")] * 257),
    embed("in format 99", "format", format=99),
    embed("in format −1", "format", format=-1),
    embed("raw in integers", "raw", raw=True, format=common_pb2.EMBEDDING_FORMAT_INT8),
    embed("raw in bits", "raw", raw=True, format=common_pb2.EMBEDDING_FORMAT_UBINARY),
    embed("of 3 dimensions without leave", "dimensions", dimensions=3),
    embed("of 2³²−1 dimensions", "dimensions", dimensions=2**32 - 1, allow_truncation=True),
    embed(
        "of 3 dimensions in bits",
        "format",
        dimensions=3,
        allow_truncation=True,
        format=common_pb2.EMBEDDING_FORMAT_BINARY,
    ),
    embed("by a model that is not there", "model", "MODEL_NOT_FOUND", MISSING, model="nope"),
    embed("by a model of a path", "model", "MODEL_NOT_FOUND", MISSING, model="../demo"),
    embed("by a model with a NUL", "model", "MODEL_NOT_FOUND", MISSING, model="\0"),
    embed("by a tower", "model", "MODEL_NOT_FOUND", MISSING, model="demo_image"),
    call(
        "embed a stream's batch of nothing",
        "ClipService/EmbedStream",
        lambda: clip_pb2.EmbedStreamRequest(batch_id=2**64 - 1),
        BAD,
        INVALID,
        "request.inputs",
    ),
]

SEARCH: list[Call] = [
    *(
        search(f"in {name}", "collection", "COLLECTION_NOT_FOUND", MISSING, collection=collection)
        for name, collection in NAMES.items()
    ),
    call(
        "search for nothing",
        "ClipService/Search",
        lambda: clip_pb2.SearchRequest(collection=COLLECTION),
        BAD,
        INVALID,
        "query",
    ),
    search("for an image not set", "image.content", UNREADABLE, image=Image()),
    search("for a broken image", "image.content", UNREADABLE, image=Image(content=b"junk")),
    search("for a vector not set", "embedding", "EMBEDDING_INVALID", embedding=common_pb2.Embedding()),
    search("for what is like nothing", "like", like=""),
    search("for what is like no point", "like", "POINT_NOT_FOUND", MISSING, like="' OR '1'='1"),
    search("for a text over a mebibyte", "text", LIMIT, text="a" * (2**20 + 1)),
    search("top_k −1", "top_k", top_k=-1),
    search("top_k 1001", "top_k", LIMIT, top_k=1_001),
    search("top_k 2³¹−1", "top_k", LIMIT, top_k=HUGE),
    search("from a score of 2", "score_threshold", score_threshold=2),
    search("from a score of NaN", "score_threshold", score_threshold=math.nan),
    search("from a score of −infinity", "score_threshold", score_threshold=-math.inf),
    search("consistency 99", "consistency", consistency=99),
    search("by another fingerprint", "fingerprint", "FINGERPRINT_MISMATCH", REFUSED, fingerprint="0" * 64),
    search(
        "by a fingerprint of a megabyte", "fingerprint", "FINGERPRINT_MISMATCH", REFUSED, fingerprint=MEGABYTE
    ),
    search("no payload, some fields", "payload_fields", omit_payload=True, payload_fields=["name"]),
    search("fields that are not there", "payload_fields[1]", payload_fields=["name", "nope"]),
    search("duplicates from −1", "duplicate_threshold", group_duplicates=True, duplicate_threshold=-1),
    search("duplicates from 2", "duplicate_threshold", group_duplicates=True, duplicate_threshold=2),
    search("duplicates from NaN", "duplicate_threshold", group_duplicates=True, duplicate_threshold=math.nan),
    search("no parts", "weighted.parts", weighted=weighted()),
    search("17 parts", "weighted.parts", LIMIT, weighted=weighted(*[(1, "a")] * 17)),
    search("a part of weight 0", "weighted.parts[1].weight", weighted=weighted((1, "a"), (0, "b"))),
    search("a part of weight NaN", "weighted.parts[0].weight", weighted=weighted((math.nan, "a"))),
    search("a part of weight infinity", "weighted.parts[0].weight", weighted=weighted((math.inf, "a"))),
    search(
        "a part not set",
        "weighted.parts[0].part",
        weighted=clip_pb2.WeightedQuery(parts=[clip_pb2.WeightedPart(weight=1)]),
    ),
    search(
        "a part that is broken",
        "weighted.parts[0].image.content",
        UNREADABLE,
        weighted=clip_pb2.WeightedQuery(parts=[clip_pb2.WeightedPart(weight=1, image=Image(content=b"x"))]),
    ),
    search(
        "parts that cancel each other out", "weighted.parts", weighted=weighted((1, "a dog"), (-1, "a dog"))
    ),
    search(
        "parts of the largest weights",
        "",
        ANSWERED,
        "OK",
        weighted=weighted((3e38, "a dog"), (3e38, "a cat")),
    ),
    search(
        "parts of the smallest weights",
        "",
        ANSWERED,
        "OK",
        weighted=weighted((1e-38, "a dog"), (1e-38, "a cat")),
    ),
    search(
        "duplicates from next to nothing",
        "",
        ANSWERED,
        "OK",
        group_duplicates=True,
        duplicate_threshold=1e-45,
    ),
]

CLIP = [*CLASSIFY, *EMBED, *SEARCH]
