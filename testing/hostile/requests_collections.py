"""Calls about collections and aliases that are messages, but ask for what cannot be had."""

from __future__ import annotations

import functools

from clipserve.v1 import collection_pb2, common_pb2

from testing.hostile.cases import Call
from testing.hostile.requests import (
    BAD,
    INVALID,
    LIMIT,
    MISSING,
    NAMES,
    REFUSED,
    call,
    of_points,
)
from testing.hostile.world import ALIAS, COLLECTION

ours = collection_pb2


def create(title: str, field: str, reason: str = INVALID, code: str = BAD, **changes: object) -> Call:
    """A CreateCollection that is sound but for these fields."""
    facts: dict = {"name": "hostile_new"} | changes
    make = functools.partial(ours.CreateCollectionRequest, **facts)
    return call(f"create {title}", "CollectionService/CreateCollection", make, code, reason, field)


def schema(*names: str, kind: int = common_pb2.PAYLOAD_TYPE_INT) -> list[collection_pb2.PayloadField]:
    """Fields of one type."""
    return [ours.PayloadField(name=name, type=kind) for name in names]


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
