"""Operations on whole collections and aliases."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.score_statistics import ScoreBackground, Statistics
from clipserve_gateway.collection.spec import CollectionSpec, Generation
from clipserve_gateway.collection.tables import new_table_name
from clipserve_gateway.errors import CollectionNotFound, InvalidInput
from clipserve_gateway.flow.stages import stage
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import IndexOptions, PayloadType, TableStatus
from clipserve_gateway.triton.models import Models
from clipserve_gateway.types import AS_OPEN_CLIP, ImageRules, ModelSpec


class Shown(Protocol):
    """What the caller may see."""

    def sees(self, name: str) -> bool:
        """Whether the caller may see the collection or alias, as far as its name decides."""

    def sees_collection(self, collection: CollectionSpec) -> bool:
        """Whether the caller may see the collection."""


@dataclass(frozen=True)
class CollectionFacts:
    """A collection and its current state."""

    spec: CollectionSpec
    count: int
    aliases: tuple[str, ...]
    status: TableStatus | None = None
    statistics: tuple[ScoreBackground, ...] = ()


class CollectionOps:
    """Collections and aliases on one engine."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        models: Models,
        statistics: Statistics,
        rules: ImageRules = AS_OPEN_CLIP,
    ) -> None:
        """`rules` for the images of new collections."""
        self._rules = rules
        self._engine = engine
        self._catalog = catalog
        self._models = models
        self._statistics = statistics

    async def create(
        self,
        name: str,
        model: str,
        schema: Mapping[str, PayloadType],
        *,
        keep_sources: bool = False,
        index: IndexOptions | None = None,
        rules: ImageRules | None = None,
    ) -> CollectionFacts:
        """Creates an empty collection for a model that is served now; `rules`: None means the server's."""
        if keep_sources and not self._engine.keeps_sources:
            raise InvalidInput(
                f"{self._engine.name} cannot store sources; set source_uri of the points instead",
                field="keep_sources",
            )
        spec = CollectionSpec(
            name,
            schema,
            dt.datetime.now(dt.timezone.utc),
            new_generation(name, self._models.get(model), self._rules if rules is None else rules),
            keep_sources,
            index or IndexOptions(),
        )
        await self._catalog.create(spec)
        return CollectionFacts(spec, 0, ())

    async def get(self, name: str, *, shown: Shown) -> CollectionFacts:
        """A collection and its state. Raises CollectionNotFound."""

        async def facts(spec: CollectionSpec) -> CollectionFacts:
            status = await self._engine.status(spec.table)
            aliases = await self._aliases(shown)
            statistics = await self._statistics.all(spec)
            return CollectionFacts(spec, status.points, aliases.get(spec.name, ()), status, tuple(statistics))

        with stage("index"):
            return await self._catalog.reading(name, facts, field="name")

    async def page(self, after: str, limit: int, *, shown: Shown) -> list[CollectionFacts]:
        """Up to `limit` of the shown collections whose names follow `after`, by name."""

        async def facts(spec: CollectionSpec) -> CollectionFacts | None:
            try:
                return CollectionFacts(spec, await self._engine.count(spec.table), aliases.get(spec.name, ()))
            except CollectionNotFound:
                # It was deleted since it was listed.
                return None

        with stage("index"):
            aliases = await self._aliases(shown)
            listed = filter(shown.sees_collection, await self._catalog.all())
            specs = [spec for spec in listed if spec.name > after][:limit]
            return [one for one in await asyncio.gather(*map(facts, specs)) if one is not None]

    async def _aliases(self, shown: Shown) -> dict[str, tuple[str, ...]]:
        """The shown aliases of each collection."""
        aliases: dict[str, tuple[str, ...]] = {}
        for alias, target in (await self._catalog.aliases()).items():
            if shown.sees(alias):
                aliases[target] = (*aliases.get(target, ()), alias)
        return aliases

    async def drop(self, name: str, *, shown: Shown) -> None:
        """Deletes a collection with its points. Raises CollectionHasAliases, which names shown aliases."""
        await self._catalog.drop(name, shown.sees)

    async def purge(self, name: str) -> None:
        """Erases deleted and replaced points of a collection from all files now; see Engine.purge."""

        async def erase(spec: CollectionSpec) -> None:
            for generation in spec.generations:
                await self._engine.purge(spec.table_of(generation))

        await self._catalog.reading(name, erase, field="name")
        await self._engine.purge_documents()

    async def put_alias(self, alias: str, collection: str) -> str:
        """Points an alias to a collection; returns the collection that it pointed to before, or ""."""
        return await self._catalog.put_alias(alias, collection)

    async def delete_alias(self, alias: str) -> None:
        """Deletes an alias. Raises AliasNotFound."""
        await self._catalog.delete_alias(alias)

    async def alias_page(self, after: str, limit: int, *, shown: Shown) -> list[tuple[str, str]]:
        """Up to `limit` (alias, collection) after the alias `after`, by alias, if both are shown."""
        aliases = sorted((await self._catalog.aliases()).items())
        hidden = {spec.name for spec in await self._catalog.all() if not shown.sees_collection(spec)}
        return [
            (alias, target)
            for alias, target in aliases
            if alias > after and shown.sees(alias) and shown.sees(target) and target not in hidden
        ][:limit]


def new_generation(collection: str, model: ModelSpec, rules: ImageRules) -> Generation:
    """A new generation, with a table name of its own, for a collection's points by a model."""
    name = new_table_name(collection)
    return Generation(name, model.name, model.fingerprint, model.embed_dim, stamped=True, rules=rules)
