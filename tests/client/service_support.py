"""Shared by the service cases: fixtures, a schema, and points to search."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterator

import clipserve
import pytest
from client.pictures import png
from clipserve import Client, Point

CLOSE = 1e-3
"""Maximum difference between embeddings of the same image in batches of different sizes."""
NOON = dt.datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=dt.timezone.utc)
SCHEMA = {
    "kind": "string",
    "year": "int",
    "weight": "double",
    "public": "bool",
    "taken": "timestamp",
    "tags": "string_list",
}


@pytest.fixture
def service(address: str) -> Iterator[Client]:
    with Client(address, timeout=60) as client:
        yield client


@pytest.fixture
def new_collection(service: Client) -> Iterator[Callable[..., clipserve.Collection]]:
    """Creates collections and deletes them after the test."""
    names: list[str] = []

    def make(**kwargs: object) -> clipserve.Collection:
        names.append(f"case-{uuid.uuid4()}")
        return service.create_collection(names[-1], schema=SCHEMA, **kwargs)

    yield make
    for name in names:
        with contextlib.suppress(clipserve.CollectionNotFound):  # deleted by the test
            for alias in service.get_collection(name).aliases:
                service.delete_alias(alias)
            service.delete_collection(name)


@pytest.fixture
def new_name(service: Client) -> Iterator[Callable[[], str]]:
    """Names for label sets, which are deleted after the test."""
    names: list[str] = []

    def make() -> str:
        names.append(f"case-{uuid.uuid4().hex}")
        return names[-1]

    yield make
    for name in names:
        with contextlib.suppress(clipserve.LabelSetNotFound):  # not stored, or deleted by the test
            service.delete_label_set(name)


def fill(service: Client, name: str, count: int = 6) -> None:
    """Points p0, p1, …: images with payloads."""
    points = [
        Point(
            f"p{i}",
            image=png(i),
            payload={
                "kind": "even" if i % 2 == 0 else "odd",
                "year": 2020 + i,
                "weight": i / 2,
                "public": i < 3,
                "taken": NOON + dt.timedelta(days=i),
                "tags": ["all", f"tag{i}"],
            },
        )
        for i in range(count)
    ]
    assert service.upsert(name, points).written == count


def new_alias() -> str:
    """An unused name."""
    return f"alias_{uuid.uuid4().hex}"


def another_model(service: Client) -> str:
    """A ready model that is not the default. Skips the test if there is none, or sources cannot be stored."""
    info = service.info()
    default = next(model for model in info.models if model.name == info.default_model)
    others = [m for m in info.models if m.ready and m.ref.fingerprint != default.ref.fingerprint]
    if not others or not info.keeps_sources:
        pytest.skip("needs two models, and an engine that keeps sources")
    return others[0].name


def until_migrated(service: Client, name: str, seconds: float = 60) -> clipserve.Migration:
    """Waits until the collection's migration is ready, and returns it."""
    end = time.monotonic() + seconds
    while True:
        migration = service.get_collection(name).migration
        assert migration is not None
        if migration.state == "ready":
            return migration
        assert time.monotonic() < end, migration
        time.sleep(0.1)


def ids(result: clipserve.SearchResult) -> set[str]:
    return {hit.id for hit in result}
