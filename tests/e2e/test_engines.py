"""Collections on one engine and on another: callers notice no difference, and can take their points along."""

from __future__ import annotations

import json
import subprocess

import clipserve
import numpy as np
import pytest
from client.service_cases import ServiceCases, new_collection, new_name, service
from clipserve import Point

from faults.fault_env import wait_ready
from testing.service import BIN, ROOT, start_gateway

__all__ = ["TestServiceOnMilvus", "new_collection", "new_name", "service"]

POINTS = 500
SCHEMA = {"kind": "string", "year": "int", "weight": "double", "public": "bool", "tags": "string_list"}


@pytest.fixture(scope="module")
def on_milvus(live, milvus, tmp_path_factory):
    """A second gateway on the same Triton, whose collections are in Milvus."""
    folder = tmp_path_factory.mktemp("milvus-gateway")
    options = ("--default-model", "demo", "--milvus-consistency", "strong")
    gateway = start_gateway(live.triton, milvus.uri, folder, *options)
    wait_ready(gateway)
    yield gateway
    assert gateway.stop() == 0


def clip(address: str, *words: object) -> dict:
    """A command of the CLI; its JSON answer."""
    command = [BIN / "clipserve", "--target", address, *map(str, words), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def points() -> list[Point]:
    rng = np.random.default_rng(0)
    return [
        Point(
            f"é{i:04d}",
            embedding=rng.standard_normal(256),
            payload={
                "kind": f"k{i % 3}",
                "year": i - 100,
                "weight": i / 7,
                "public": i % 2 == 0,
                "tags": ["a"] * (i % 3),
            }
            if i % 10
            else {},
            source_uri=f"s3://bucket/{i}.jpg",
        )
        for i in range(POINTS)
    ]


def stored(client: clipserve.Client, name: str) -> list[tuple]:
    """Everything in a collection, byte for byte."""
    return [
        (point.id, point.payload, point.embedding.tobytes(), point.source_uri)
        for point in client.scroll(name, with_embeddings=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["lancedb", "milvus"])
def test_points_move_from_one_engine_to_the_other_and_back_unchanged(live, on_milvus, tmp_path, first):
    addresses = {"lancedb": live.address, "milvus": on_milvus.address}
    second = next(name for name in addresses if name != first)
    name, file, back = f"moved_{first}", tmp_path / "points.parquet", tmp_path / "back.parquet"
    with clipserve.Client(addresses[first]) as here, clipserve.Client(addresses[second]) as there:
        assert (here.info().engine, there.info().engine) == (first, second)
        here.create_collection(name, schema=SCHEMA)
        here.upsert(name, points())
        clip(addresses[first], "export", "-c", name, file)
        clip(addresses[second], "import", file, "-c", name)
        before, after = stored(here, name), stored(there, name)
        assert len(after) == POINTS
        assert after == before
        query = points()[17].embedding
        hits = [
            client.search(name, embedding=query, top_k=5, consistency="strong") for client in (here, there)
        ]
        assert [hit.id for hit in hits[0]] == [hit.id for hit in hits[1]]
        here.delete_collection(name)
        clip(addresses[second], "export", "-c", name, back)
        clip(addresses[first], "import", back, "-c", name)
        assert stored(here, name) == before
        for client in (here, there):
            client.delete_collection(name)


@pytest.fixture
def address(on_milvus) -> str:
    return on_milvus.address


@pytest.mark.slow
class TestServiceOnMilvus(ServiceCases):
    """See client/service_cases.py; slow, because most cases make a collection, which takes Milvus seconds."""
