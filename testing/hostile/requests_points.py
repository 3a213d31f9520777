"""Calls about points, migrations, pages and label sets that are messages, but ask for what cannot be had."""

from __future__ import annotations

import base64
import functools

from clipserve.v1 import clip_pb2, collection_pb2, labels_pb2

from testing.hostile.cases import Call
from testing.hostile.filters import YEAR, eq
from testing.hostile.requests import (
    BAD,
    GONE,
    HUGE,
    INVALID,
    LIMIT,
    MEGABYTE,
    MISSING,
    NAMES,
    REFUSED,
    call,
    of_points,
)
from testing.hostile.world import COLLECTION, LABELS, WORDS

ours = collection_pb2

TOKENS = {
    "a token of letters": "ä",
    "a token of a wrong length": "abcde",
    "a token of bytes that are no text": base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    "a token of other signs": "!!!!",
    "a token of a megabyte": base64.urlsafe_b64encode(MEGABYTE.encode()).decode(),
    "a token of 1028 bytes": base64.urlsafe_b64encode(b"a" * 771).decode(),
}
"""Page tokens that no server gave out."""

FORGED = {
    "a token of a NUL": base64.urlsafe_b64encode(b"\0").decode(),
    "a token of a query": base64.urlsafe_b64encode(b"' OR '1'='1").decode(),
    "a token of 1024 bytes": base64.urlsafe_b64encode(b"a" * 768).decode(),
    "a token of the last letter": base64.urlsafe_b64encode("\U0010ffff".encode()).decode(),
}
"""Page tokens that one could make oneself: they are places in the order, no secrets."""


def upsert(name: str, field: str, reason: str, points: list, *, code: str = BAD, **changes: object) -> Call:
    """An UpsertPoints."""
    make = functools.partial(ours.UpsertPointsRequest, collection=COLLECTION, points=points, **changes)
    return of_points("UpsertPoints", name, field, reason, code, make)


def point(id: str) -> collection_pb2.PointInput:
    """A point made of a text."""
    return ours.PointInput(id=id, text=WORDS)


LISTS = (
    ("CollectionService", "ListCollections", ours.ListCollectionsRequest),
    ("CollectionService", "ListAliases", ours.ListAliasesRequest),
    (
        "CollectionService",
        "ScrollPoints",
        functools.partial(ours.ScrollPointsRequest, collection=COLLECTION),
    ),
    ("LabelSetService", "ListLabelSets", labels_pb2.ListLabelSetsRequest),
)
"""What answers in pages."""

PAGES: list[Call] = [
    call(f"{method} {name}", f"{service}/{method}", functools.partial(message, **facts), BAD, INVALID, field)
    for service, method, message in LISTS
    for name, field, facts in (
        ("a page of −1", "page_size", {"page_size": -1}),
        ("a page of −2³¹", "page_size", {"page_size": -HUGE - 1}),
        *((name, "page_token", {"page_token": token}) for name, token in TOKENS.items()),
    )
] + [
    call(f"{method} {name}", f"{service}/{method}", functools.partial(message, **facts), "OK")
    for service, method, message in LISTS
    for name, facts in (
        ("a page of 2³¹−1", {"page_size": HUGE}),
        *((name, {"page_token": token}) for name, token in FORGED.items()),
    )
]

POINTS: list[Call] = [
    *(
        of_points(
            method, f"in {name}", "collection", GONE, MISSING, functools.partial(make, collection=value)
        )
        for name, value in NAMES.items()
        for method, make in (
            ("UpsertPoints", functools.partial(ours.UpsertPointsRequest, points=[])),
            ("DeletePoints", functools.partial(ours.DeletePointsRequest, ids=["a"])),
            ("GetPoints", functools.partial(ours.GetPointsRequest, ids=["a"])),
            ("ScrollPoints", ours.ScrollPointsRequest),
            ("CountPoints", ours.CountPointsRequest),
            ("GetThumbnail", functools.partial(ours.GetThumbnailRequest, id="a")),
            ("StartMigration", ours.StartMigrationRequest),
            ("SwitchMigration", ours.SwitchMigrationRequest),
            ("RollBackMigration", ours.RollBackMigrationRequest),
            ("EndMigration", ours.EndMigrationRequest),
        )
    ),
    upsert("nothing", "points", INVALID, []),
    upsert("257 points", "points", LIMIT, [point(str(i)) for i in range(257)]),
    upsert("an id twice", "points[1].id", INVALID, [point("a"), point("a")]),
    upsert("no id twice", "points[1].id", INVALID, [point(""), point("")]),
    upsert(
        "of another fingerprint",
        "fingerprint",
        "FINGERPRINT_MISMATCH",
        [point("a")],
        code=REFUSED,
        fingerprint="0" * 64,
    ),
    of_points(
        "UpsertPointsStream",
        "a batch of nothing",
        "request.points",
        INVALID,
        BAD,
        lambda: ours.UpsertPointsStreamRequest(
            batch_id=2**64 - 1, request=ours.UpsertPointsRequest(collection=COLLECTION)
        ),
    ),
    of_points(
        "UpsertPointsStream", "no batch", "request.collection", GONE, MISSING, ours.UpsertPointsStreamRequest
    ),
    of_points(
        "DeletePoints", "none", "ids", INVALID, BAD, lambda: ours.DeletePointsRequest(collection=COLLECTION)
    ),
    of_points(
        "DeletePoints",
        "by id and filter",
        "ids",
        INVALID,
        BAD,
        lambda: ours.DeletePointsRequest(collection=COLLECTION, ids=["a"], filter=eq("year", YEAR)),
    ),
    of_points(
        "DeletePoints",
        "257 ids",
        "ids",
        LIMIT,
        BAD,
        lambda: ours.DeletePointsRequest(collection=COLLECTION, ids=["a"] * 257),
    ),
    of_points("GetPoints", "none", "ids", INVALID, BAD, lambda: ours.GetPointsRequest(collection=COLLECTION)),
    of_points(
        "GetPoints",
        "257 ids",
        "ids",
        LIMIT,
        BAD,
        lambda: ours.GetPointsRequest(collection=COLLECTION, ids=["a"] * 257),
    ),
    of_points(
        "GetPoints",
        "256 times the same",
        "",
        "",
        "OK",
        lambda: ours.GetPointsRequest(collection=COLLECTION, ids=["kept 0"] * 256),
    ),
    of_points(
        "StartMigration",
        "to a model that is not there",
        "to_model",
        "MODEL_NOT_FOUND",
        MISSING,
        lambda: ours.StartMigrationRequest(collection=COLLECTION, to_model="nope"),
    ),
    of_points(
        "StartMigration",
        "to a model of a megabyte",
        "to_model",
        "MODEL_NOT_FOUND",
        MISSING,
        lambda: ours.StartMigrationRequest(collection=COLLECTION, to_model=MEGABYTE),
    ),
    of_points(
        "StartMigration",
        "to where it is",
        "to_model",
        "MIGRATION_CONFLICT",
        REFUSED,
        lambda: ours.StartMigrationRequest(collection=COLLECTION),
    ),
]

BAD_LABEL_SETS = {
    "no name": "",
    "a name of a digit first": "1a",
    "a name of 129 letters": "a" * 129,
    "a name of a megabyte": MEGABYTE,
    "a name of a path": "../a",
    "a name with a NUL": "a\0",
    "a name with a line end": "a\n",
    "a name of a query": "a' OR '1'='1",
}

LABEL_SETS: list[Call] = [
    *(
        call(
            f"{method} {name}",
            f"LabelSetService/{method}",
            functools.partial(make, value),
            BAD,
            INVALID,
            field,
        )
        for name, value in BAD_LABEL_SETS.items()
        for method, field, make in (
            ("PutLabelSet", "name", lambda name: labels_pb2.PutLabelSetRequest(name=name)),
            (
                "GetLabelSet",
                "ref.name",
                lambda name: labels_pb2.GetLabelSetRequest(ref=clip_pb2.LabelSetRef(name=name)),
            ),
            (
                "DeleteLabelSet",
                "ref.name",
                lambda name: labels_pb2.DeleteLabelSetRequest(ref=clip_pb2.LabelSetRef(name=name)),
            ),
        )
    ),
    call(
        "PutLabelSet of no labels",
        "LabelSetService/PutLabelSet",
        lambda: labels_pb2.PutLabelSetRequest(name="a"),
        BAD,
        INVALID,
        "labels.names",
    ),
    call(
        "GetLabelSet not set",
        "LabelSetService/GetLabelSet",
        labels_pb2.GetLabelSetRequest,
        BAD,
        INVALID,
        "ref.name",
    ),
    call(
        "GetLabelSet of nothing",
        "LabelSetService/GetLabelSet",
        lambda: labels_pb2.GetLabelSetRequest(ref=clip_pb2.LabelSetRef(name="nothing")),
        MISSING,
        "LABEL_SET_NOT_FOUND",
        "ref.name",
    ),
    call(
        "GetLabelSet of a version that is not there",
        "LabelSetService/GetLabelSet",
        lambda: labels_pb2.GetLabelSetRequest(ref=clip_pb2.LabelSetRef(name=LABELS, version=2**32 - 1)),
        MISSING,
        "LABEL_SET_NOT_FOUND",
        "ref.version",
    ),
    call(
        "DeleteLabelSet of a version that is not there",
        "LabelSetService/DeleteLabelSet",
        lambda: labels_pb2.DeleteLabelSetRequest(ref=clip_pb2.LabelSetRef(name=LABELS, version=99)),
        MISSING,
        "LABEL_SET_NOT_FOUND",
        "ref.version",
    ),
]
