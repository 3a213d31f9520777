"""Calls of CollectionService and LabelSetService that are messages, but ask for what cannot be had."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable

from clipserve.v1 import clip_pb2, collection_pb2, common_pb2, labels_pb2
from google.protobuf.message import Message

from support.hostile.cases import Call
from support.hostile.filters import YEAR, eq
from support.hostile.requests import BAD, HUGE, INVALID, LIMIT, MEGABYTE, MISSING, NAMES, REFUSED, call
from support.hostile.world import ALIAS, COLLECTION, LABELS, WORDS

ours = collection_pb2
GONE = "COLLECTION_NOT_FOUND"

TOKENS = {
    "a token of letters": "ä",
    "a token of a wrong length": "abcde",
    "a token of bytes that are no text": base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    "a token of other signs": "!!!!",
}
"""Page tokens that no server gave out."""

FORGED = {
    "a token of a NUL": base64.urlsafe_b64encode(b"\0").decode(),
    "a token of a query": base64.urlsafe_b64encode(b"' OR '1'='1").decode(),
    "a token of a megabyte": base64.urlsafe_b64encode(MEGABYTE.encode()).decode(),
    "a token of the last letter": base64.urlsafe_b64encode("\U0010ffff".encode()).decode(),
}
"""Page tokens that one could make oneself: they are places in the order, no secrets."""


def create(title: str, field: str, reason: str = INVALID, code: str = BAD, **changes: object) -> Call:
    """A CreateCollection that is sound but for these fields."""
    facts: dict = {"name": "hostile_new"} | changes
    make = functools.partial(ours.CreateCollectionRequest, **facts)
    return call(f"create {title}", "CollectionService/CreateCollection", make, code, reason, field)


def schema(*names: str, kind: int = common_pb2.PAYLOAD_TYPE_INT) -> list[collection_pb2.PayloadField]:
    """Fields of one type."""
    return [ours.PayloadField(name=name, type=kind) for name in names]


def of_points(
    method: str, name: str, field: str, reason: str, code: str, make: Callable[[], Message]
) -> Call:
    """A call of CollectionService."""
    return call(f"{method} {name}", f"CollectionService/{method}", make, code, reason, field)


def upsert(name: str, field: str, reason: str, points: list, *, code: str = BAD, **changes: object) -> Call:
    """An UpsertPoints."""
    make = functools.partial(ours.UpsertPointsRequest, collection=COLLECTION, points=points, **changes)
    return of_points("UpsertPoints", name, field, reason, code, make)


def point(id: str) -> collection_pb2.PointInput:
    """A point made of a text."""
    return ours.PointInput(id=id, text=WORDS)


COLLECTIONS: list[Call] = [
    *(create(name, "name", name=value) for name, value in NAMES.items() if name != "a name of another case"),
    create("a name of two letters", "name", name="ab"),
    create("a name of a digit first", "name", name="1abc"),
    create("a name of 65 letters", "name", name="a" * 65),
    create("what is there", "name", "COLLECTION_EXISTS", "ALREADY_EXISTS", name=COLLECTION),
    create("what an alias is called", "name", "COLLECTION_EXISTS", "ALREADY_EXISTS", name=ALIAS),
    create("metric 99", "metric", metric=99),
    create("65 fields", "schema", LIMIT, schema=schema(*(f"f{i}" for i in range(65)))),
    create("100000 fields", "schema", LIMIT, schema=schema(*(f"f{i}" for i in range(100_000)))),
    create("a field twice", "schema[1].name", schema=schema("a", "a")),
    create("a field twice but for case", "schema[1].name", schema=schema("a", "A")),
    create("a field without name", "schema[0].name", schema=schema("")),
    create("a field of a query", "schema[0].name", schema=schema("a) OR (1=1")),
    create("a field of a quote", "schema[0].name", schema=schema("`a`")),
    create("a field without type", "schema[0].type", schema=schema("a", kind=0)),
    create("a field of type 99", "schema[0].type", schema=schema("a", kind=99)),
    create("an index of 3 links", "index_options.m", index_options=ours.IndexOptions(m=3)),
    create("an index of 2³²−1 links", "index_options.m", index_options=ours.IndexOptions(m=2**32 - 1)),
    create(
        "an index of 4097 candidates",
        "index_options.ef_search",
        index_options=ours.IndexOptions(ef_search=4_097),
    ),
    create("an exact index with links", "index_options.m", index_options=ours.IndexOptions(exact=True, m=16)),
    create("for a model that is not there", "model", "MODEL_NOT_FOUND", MISSING, model="nope"),
    *(
        of_points(
            "GetCollection",
            name,
            "name",
            "COLLECTION_NOT_FOUND",
            MISSING,
            functools.partial(ours.GetCollectionRequest, name=value),
        )
        for name, value in NAMES.items()
    ),
    *(
        of_points(
            "DeleteCollection",
            name,
            "name",
            "COLLECTION_NOT_FOUND",
            MISSING,
            functools.partial(ours.DeleteCollectionRequest, name=value),
        )
        for name, value in NAMES.items()
    ),
    of_points(
        "DeleteCollection",
        "of an alias",
        "name",
        "COLLECTION_NOT_FOUND",
        MISSING,
        lambda: ours.DeleteCollectionRequest(name=ALIAS),
    ),
    of_points(
        "DeleteCollection",
        "that has an alias",
        "name",
        "COLLECTION_HAS_ALIASES",
        REFUSED,
        lambda: ours.DeleteCollectionRequest(name=COLLECTION),
    ),
    of_points("PutAlias", "not set", "alias.name", INVALID, BAD, lambda: ours.PutAliasRequest()),
    of_points(
        "PutAlias",
        "called like a collection",
        "alias.name",
        "COLLECTION_EXISTS",
        "ALREADY_EXISTS",
        lambda: ours.PutAliasRequest(alias=ours.Alias(name=COLLECTION, collection=COLLECTION)),
    ),
    of_points(
        "PutAlias",
        "of itself",
        "alias.collection",
        "COLLECTION_NOT_FOUND",
        MISSING,
        lambda: ours.PutAliasRequest(alias=ours.Alias(name="hostile_self", collection="hostile_self")),
    ),
    of_points(
        "PutAlias",
        "of an alias",
        "alias.collection",
        "COLLECTION_NOT_FOUND",
        MISSING,
        lambda: ours.PutAliasRequest(alias=ours.Alias(name="hostile_chain", collection=ALIAS)),
    ),
    *(
        of_points(
            "PutAlias",
            f"of {name}",
            "alias.collection",
            "COLLECTION_NOT_FOUND",
            MISSING,
            functools.partial(
                lambda value: ours.PutAliasRequest(alias=ours.Alias(name="hostile_new", collection=value)),
                value,
            ),
        )
        for name, value in NAMES.items()
    ),
    *(
        of_points(
            "DeleteAlias",
            name,
            "name",
            "ALIAS_NOT_FOUND",
            MISSING,
            functools.partial(ours.DeleteAliasRequest, name=value),
        )
        for name, value in NAMES.items()
    ),
]

PAGES: list[Call] = [
    call(f"{method} {name}", f"{service}/{method}", functools.partial(message, **facts), BAD, INVALID, field)
    for service, method, message in (
        ("CollectionService", "ListCollections", ours.ListCollectionsRequest),
        ("CollectionService", "ListAliases", ours.ListAliasesRequest),
        (
            "CollectionService",
            "ScrollPoints",
            functools.partial(ours.ScrollPointsRequest, collection=COLLECTION),
        ),
        ("LabelSetService", "ListLabelSets", labels_pb2.ListLabelSetsRequest),
    )
    for name, field, facts in (
        ("a page of −1", "page_size", {"page_size": -1}),
        ("a page of −2³¹", "page_size", {"page_size": -HUGE - 1}),
        *((name, "page_token", {"page_token": token}) for name, token in TOKENS.items()),
    )
] + [
    call(f"{method} {name}", f"{service}/{method}", functools.partial(message, **facts), "OK")
    for service, method, message in (
        ("CollectionService", "ListCollections", ours.ListCollectionsRequest),
        ("CollectionService", "ListAliases", ours.ListAliasesRequest),
        (
            "CollectionService",
            "ScrollPoints",
            functools.partial(ours.ScrollPointsRequest, collection=COLLECTION),
        ),
        ("LabelSetService", "ListLabelSets", labels_pb2.ListLabelSetsRequest),
    )
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

COLLECTION_CALLS = [*COLLECTIONS, *PAGES, *POINTS, *LABEL_SETS]
