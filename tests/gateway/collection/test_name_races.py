"""Names that several gateways, each a process, want at once: one decides, in the store."""

from __future__ import annotations

import contextlib

import pytest
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.errors import CollectionNotFound
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.types import LabelSetRef

from testing.name_process import TARGET, Gateway, new_collection, race
from testing.s3_server import BUCKET, s3_server


@pytest.fixture(scope="module")
def s3_environment():
    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.slow)])
async def store(request, tmp_path, monkeypatch):
    """A store's URI, and how many rounds a race there may take."""
    if request.param == "disk":
        return str(tmp_path / "store"), 4
    for name, value in request.getfixturevalue("s3_environment").items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{request.node.name.translate(str.maketrans('[]', '--'))}", 4


@pytest.fixture
async def engine(store):
    engine = LanceEngine(store[0])
    yield engine
    await engine.close()


@pytest.fixture
def gateways(store, engine):
    """Starts processes that do these things; the store is there before."""
    with contextlib.ExitStack() as stack:

        def start(*actions: str) -> list[Gateway]:
            made = [Gateway(store[0], action) for action in actions]
            for gateway in made:
                stack.callback(gateway.end)
            assert [gateway.answer() for gateway in made] == ["ready"] * len(made)
            return made

        yield start


async def test_of_those_that_create_one_collection_one_does(store, engine, gateways):
    running = gateways("create", "create", "create")
    for n in range(store[1]):
        outcomes = race(f"name_{n}", *running)
        assert sorted(outcomes) == ["CollectionExists", "CollectionExists", "ok"]
    specs = await Catalog(engine).all()
    assert [spec.name for spec in specs] == sorted(f"name_{n}" for n in range(store[1]))
    assert sorted(await engine.tables()) == sorted(spec.serving.table for spec in specs)


async def test_of_a_collection_and_an_alias_of_one_name_one_is_made(store, engine, gateways):
    catalog = Catalog(engine)
    await catalog.create(new_collection(TARGET))
    running = gateways("create", "alias")
    for n in range(store[1]):
        name = f"name_{n}"
        created, put = race(name, *running)
        collections = {spec.name for spec in await catalog.all()}
        is_alias = name in await catalog.aliases()
        assert is_alias is not (name in collections)
        assert (put == "ok", created == "ok") == (is_alias, not is_alias)
        if is_alias:
            await catalog.delete_alias(name)
            assert race(name, running[0]) == ["ok"]
        else:
            await catalog.drop(name)
            assert race(name, running[1]) == ["ok"]


async def test_no_alias_outlives_a_drop_that_it_raced(store, engine, gateways):
    catalog = Catalog(engine)
    running = gateways("drop", "alias to")
    for n in range(store[1]):
        name = f"name_{n}"
        await catalog.create(new_collection(name))
        dropped, put = race(name, *running)
        aliases = await catalog.aliases()
        if put == "ok":
            assert dropped == "CollectionHasAliases"
            assert aliases[f"alias_of_{name}"] == name
            assert (await catalog.get(name, fresh=True)).name == name
        else:
            assert (dropped, put) == ("ok", "CollectionNotFound")
            assert f"alias_of_{name}" not in aliases
            with pytest.raises(CollectionNotFound):
                await catalog.get(name, fresh=True)


async def test_label_sets_put_at_once_get_versions_of_their_own(store, engine, gateways):
    running = gateways("one", "two", "three")
    for n in range(store[1]):
        outcomes = race(f"set_{n}", *running)
        versions = [int(outcome.removeprefix("ok ")) for outcome in outcomes]
        assert len(set(versions)) == 3
        sets = LabelSets(engine)
        for version, name in zip(versions, ("one", "two", "three"), strict=True):
            stored = await sets.get(LabelSetRef(f"set_{n}", version))
            assert stored.labels.names == ("cat", name)
            assert stored.versions == tuple(sorted(versions))
