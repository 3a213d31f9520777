from __future__ import annotations

import numpy as np
import pytest
from clipserve.v1 import collection_pb2, common_pb2
from clipserve_gateway.collection.management import CollectionFacts
from clipserve_gateway.collection.score_statistics import ScoreBackground
from clipserve_gateway.collection.spec import CollectionSpec, Migration, MigrationState, Overlap
from clipserve_gateway.convert.collections import read_create, write_collection
from clipserve_gateway.convert.common import write_image_rules
from clipserve_gateway.convert.pages import read_page, write_page_token
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.index.values import IndexOptions, IndexState, TableStatus
from clipserve_gateway.types import ImageRules
from hypothesis import given
from hypothesis import strategies as st

from testing.convert import NEW, OLD, spec

Options = collection_pb2.IndexOptions


def test_index_options_are_read():
    options = Options(m=32, ef_construction=100, ef_search=64)
    call = read_create(collection_pb2.CreateCollectionRequest(name="pets", index_options=options))
    assert call.index == IndexOptions(m=32, ef_construction=100, ef_search=64)
    assert read_create(collection_pb2.CreateCollectionRequest(name="pets")).index == IndexOptions()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (Options(m=3), "m"),
        (Options(m=129), "m"),
        (Options(ef_construction=7), "ef_construction"),
        (Options(ef_search=4_097), "ef_search"),
        (Options(exact=True, m=16), "m"),
    ],
)
def test_index_options_out_of_range_are_named(options, field):
    with pytest.raises(InvalidInput) as caught:
        read_create(collection_pb2.CreateCollectionRequest(name="pets", index_options=options))
    assert caught.value.field == f"index_options.{field}"


def test_the_rules_of_a_new_collection_are_read():
    rules = common_pb2.ImageRules(apply_orientation=True, alpha_background="#0A3CC8")
    call = read_create(collection_pb2.CreateCollectionRequest(name="pets", image_rules=rules))
    assert call.rules == ImageRules(True, (10, 60, 200))
    off = read_create(collection_pb2.CreateCollectionRequest(name="pets", image_rules={}))
    assert off.rules == ImageRules()
    assert read_create(collection_pb2.CreateCollectionRequest(name="pets")).rules is None


def test_a_background_that_is_no_color_is_named():
    rules = common_pb2.ImageRules(alpha_background="white")
    with pytest.raises(InvalidInput, match="write none, or #RRGGBB") as caught:
        read_create(collection_pb2.CreateCollectionRequest(name="pets", image_rules=rules))
    assert caught.value.field == "image_rules.alpha_background"


def test_a_collection_is_written_with_all_that_is_known_of_it():
    cosines = np.linspace(-1, 1, 2_001, dtype=np.float32)
    facts = CollectionFacts(
        spec(keep_sources=True, index=IndexOptions(ef_search=99)),
        7,
        ("alias",),
        TableStatus(7, 3, IndexState.BUILDING),
        (ScoreBackground("text", cosines, cosines, np.zeros(2, np.float32), None),),
    )
    written = write_collection(facts)
    assert (written.name, written.count, written.aliases) == ("pets", 7, ["alias"])
    assert (written.keep_sources, written.index_options.ef_search) == (True, 99)
    assert (written.index_status.state, written.index_status.indexed) == (
        collection_pb2.INDEX_STATE_BUILDING,
        3,
    )
    [statistics] = written.score_statistics
    assert (statistics.query, statistics.pairs) == ("text", 2_001)
    assert statistics.mean == pytest.approx(0, abs=1e-6)
    assert statistics.p95 == pytest.approx(0.9, abs=2e-3)
    assert not written.HasField("migration")


def moving(state: MigrationState, **changes) -> CollectionSpec:
    """A collection that moves from OLD to NEW."""
    switched = state is MigrationState.SWITCHED
    migration = Migration(state, OLD if switched else NEW, spec().create_time, total=9, **changes)
    return spec(serving=NEW if switched else OLD, migration=migration)


@pytest.mark.parametrize(
    ("state", "error", "written"),
    [
        (MigrationState.RUNNING, "", collection_pb2.MIGRATION_STATE_RUNNING),
        (MigrationState.RUNNING, "no disk", collection_pb2.MIGRATION_STATE_WAITING),
        (MigrationState.READY, "", collection_pb2.MIGRATION_STATE_READY),
        (MigrationState.SWITCHED, "", collection_pb2.MIGRATION_STATE_SWITCHED),
    ],
)
def test_a_migration_goes_from_the_old_model_to_the_new_whichever_answers(state, error, written):
    overlap = Overlap(10, 100, 0.5, 0.25)
    collection = write_collection(CollectionFacts(moving(state, error=error, overlap=overlap), 1, ()))
    migration = collection.migration
    assert (migration.state, migration.error) == (written, error)
    assert (getattr(migration, "from").name, migration.to.name) == (OLD.model, NEW.model)
    assert (migration.overlap.k, migration.overlap.mean) == (10, 0.5)
    serving = NEW if state is MigrationState.SWITCHED else OLD
    assert collection.model.name == serving.model
    assert collection.image_rules == write_image_rules(serving.rules)
    assert migration.from_image_rules == common_pb2.ImageRules()
    assert migration.to_image_rules == common_pb2.ImageRules(
        apply_orientation=True, alpha_background="#0a3cc8"
    )


@given(st.text(max_size=50), st.integers(0, 2**31 - 1))
def test_a_page_begins_where_its_token_says(name, size):
    request = collection_pb2.ListCollectionsRequest(page_token=write_page_token(name), page_size=size)
    assert read_page(request) == (name, min(size or 100, 1_000))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_token": "?"}, "page_token"),
        ({"page_token": "YWFh" * 257}, "page_token"),
    ],
)
def test_pages_that_cannot_be_are_named(fields, field):
    with pytest.raises(InvalidInput) as caught:
        read_page(collection_pb2.ListCollectionsRequest(**fields))
    assert caught.value.field == field
