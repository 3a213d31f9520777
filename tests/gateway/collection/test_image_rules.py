"""A collection keeps its rules for images until it is migrated."""

from __future__ import annotations

import io
import json

import pytest
from clipserve_gateway.collection.migration import Migrator
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.search import Part
from clipserve_gateway.collection.spec import COLLECTIONS, MigrationState, read_spec, write_spec
from clipserve_gateway.errors import MigrationConflict
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import AS_OPEN_CLIP, EncodedImage, ImageRules
from PIL import Image

from testing.domain import Domain, picture, two_models
from testing.fakes import fake_models
from testing.memory_engine import MemoryEngine
from testing.migrations import until

pytestmark = pytest.mark.usefixtures("no_waiting")

RULES = ImageRules(orientation=True, background=(10, 60, 200))


def turned(seed: int) -> EncodedImage:
    """The picture of that seed with an EXIF orientation."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[274] = 3
    Image.open(io.BytesIO(picture(seed).content)).save(file, "PNG", exif=exif)
    return EncodedImage(file.getvalue())


def upright(seed: int) -> EncodedImage:
    """The picture of that seed as people see the one with the orientation."""
    file = io.BytesIO()
    Image.open(io.BytesIO(picture(seed).content)).transpose(Image.Transpose.ROTATE_180).save(file, "PNG")
    return EncodedImage(file.getvalue())


@pytest.fixture
async def start(encoder, pool):
    """Starts gateways with their rules on one engine."""
    engine, made = MemoryEngine(), []

    async def make(rules: ImageRules) -> Domain:
        models = await fake_models(two_models(), default="fake")
        limits = Settings().limits
        embedder = Embedder(models, encoder, pool, limits, Metrics(), fast_decode=True, rules=rules)
        made.append(Domain(engine, models, embedder, rules=rules))
        return made[-1]

    yield make
    for domain in made:
        await domain.close()


async def score(domain: Domain, query: EncodedImage) -> float:
    """Cosine of a query with the only point."""
    [group] = (await domain.search("pets", Part(query))).groups
    return group.hit.score


@pytest.mark.parametrize("rules", [AS_OPEN_CLIP, RULES])
async def test_a_collection_keeps_the_rules_of_the_gateway_that_made_it(start, rules):
    spec = await (await start(rules)).create(keep_sources=True)
    assert spec.serving.rules == rules
    other = await start(ImageRules(not rules.orientation))
    assert await other.upsert("pets", NewPoint("a", turned(1), {})) == [None]
    seen = upright(1) if rules.orientation else picture(1)
    assert await score(other, seen) == pytest.approx(1, abs=1e-6)
    assert await score(other, turned(1)) == pytest.approx(1, abs=1e-6), "the query follows them too"
    assert (await other.catalog.get("pets", fresh=True)).serving.rules == rules


async def test_a_migration_to_the_same_model_takes_the_rules_of_the_gateway(start):
    old = await start(AS_OPEN_CLIP)
    await old.create(keep_sources=True)
    await old.upsert("pets", NewPoint("a", turned(1), {}))
    new = await start(RULES)
    await new.migrator.start("pets", "fake")
    await until(new, MigrationState.READY)
    assert await score(new, picture(1)) == pytest.approx(1, abs=1e-6), "it still serves the old rules"
    await new.upsert("pets", NewPoint("a", turned(2), {}))
    await new.migrator.switch("pets", without_failed=False)
    assert await score(new, upright(2)) == pytest.approx(1, abs=1e-6)
    spec = await new.migrator.end("pets")
    assert spec.serving.rules == RULES
    assert await score(old, turned(2)) == pytest.approx(1, abs=1e-6)
    with pytest.raises(MigrationConflict, match="would not change"):
        await new.migrator.start("pets", "fake")


async def test_a_migration_back_to_no_rules_is_one_too(start):
    domain = await start(RULES)
    await domain.create(keep_sources=True)
    models = await fake_models(two_models(), default="fake")
    migrator = Migrator(domain.engine, domain.catalog, models, domain.embedder, domain.sources)
    spec = await migrator.start("pets", "fake")
    assert spec.migration.other.rules == AS_OPEN_CLIP
    await migrator.close()


async def test_documents_without_rules_are_those_of_older_releases(start):
    domain = await start(AS_OPEN_CLIP)
    spec = await domain.create()
    document = await domain.engine.get_document(COLLECTIONS + "pets")
    assert "rules" not in json.loads(document.value)["serving"]
    assert read_spec(document.value) == spec


async def test_documents_keep_the_rules_of_both_generations(start):
    domain = await start(RULES)
    await domain.create(keep_sources=True)
    await domain.upsert("pets", NewPoint("a", "a text", {}))
    spec = await domain.migrator.start("pets", "other")
    read = read_spec(write_spec(spec))
    assert read == spec
    assert [generation.rules for generation in read.generations] == [RULES, RULES]
