"""What can be done with collections as wholes: plain values in, plain values out."""

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
from clipserve_gateway.types import ModelSpec


class Shown(Protocol):
    """What the caller may know of."""

    def name(self, name: str) -> bool:
        """Whether the collection or alias may be shown, as far as its name decides."""
        ...

    def collection(self, collection: CollectionSpec) -> bool:
        """Whether the collection may be shown."""
        ...


class Everything:
    """Shows whatever there is."""

    def name(self, name: str) -> bool:
        """True."""
        return True

    def collection(self, collection: CollectionSpec) -> bool:
        """True."""
        return True


EVERYTHING = Everything()


class ModelTable(Protocol):
    """Knows models by name."""

    def get(self, name: str) -> ModelSpec:
        """The model, if it is there and ready."""
        ...


@dataclass(frozen=True)
class CollectionFacts:
    """A collection and what is known of it at the moment."""

    spec: CollectionSpec
    count: int
    aliases: tuple[str, ...]
    status: TableStatus | None = None
    statistics: tuple[ScoreBackground, ...] = ()


class CollectionOps:
    """Collections and aliases, on one engine."""

    def __init__(self, engine: Engine, catalog: Catalog, models: ModelTable, statistics: Statistics) -> None:
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
    ) -> CollectionFacts:
        """Makes an empty collection for a model that is served now."""
        if keep_sources and not self._engine.keeps_sources:
            raise InvalidInput(
                f"{self._engine.name} keeps no sources; give points a source_uri instead",
                field="keep_sources",
            )
        spec = CollectionSpec(
            name,
            schema,
            dt.datetime.now(dt.timezone.utc),
            new_generation(name, self._models.get(model)),
            keep_sources,
            index or IndexOptions(),
        )
        await self._catalog.create(spec)
        return CollectionFacts(spec, 0, ())

    async def get(self, name: str, *, shown: Shown = EVERYTHING) -> CollectionFacts:
        """What a collection is and how it is; CollectionNotFound."""

        async def facts(spec: CollectionSpec) -> CollectionFacts:
            status = await self._engine.status(spec.table)
            aliases = await self._aliases(shown)
            statistics = await self._statistics.all(spec)
            return CollectionFacts(spec, status.points, aliases.get(spec.name, ()), status, tuple(statistics))

        with stage("index"):
            return await self._catalog.reading(name, facts, field="name")

    async def page(self, after: str, limit: int, *, shown: Shown = EVERYTHING) -> list[CollectionFacts]:
        """Up to `limit` of the shown collections whose names follow `after`, by name."""

        async def one(spec: CollectionSpec) -> CollectionFacts | None:
            try:
                return CollectionFacts(spec, await self._engine.count(spec.table), aliases.get(spec.name, ()))
            except CollectionNotFound:
                # Dropped since it was listed.
                return None

        with stage("index"):
            aliases = await self._aliases(shown)
            found = await self._catalog.all()
            specs = [spec for spec in found if spec.name > after and shown.collection(spec)][:limit]
            return [facts for facts in await asyncio.gather(*map(one, specs)) if facts is not None]

    async def _aliases(self, shown: Shown) -> dict[str, tuple[str, ...]]:
        """The shown aliases of each collection."""
        found: dict[str, tuple[str, ...]] = {}
        for alias, target in (await self._catalog.aliases()).items():
            if shown.name(alias):
                found[target] = (*found.get(target, ()), alias)
        return found

    async def drop(self, name: str, *, shown: Shown = EVERYTHING) -> None:
        """Removes a collection with all its points; CollectionHasAliases, which names the shown ones."""
        await self._catalog.drop(name, shown.name)

    async def purge(self, name: str) -> None:
        """Takes what was deleted or replaced in a collection out of all files now; see Engine.purge."""

        async def erase(spec: CollectionSpec) -> None:
            for generation in spec.generations:
                await self._engine.purge(spec.table_of(generation))

        await self._catalog.reading(name, erase, field="name")
        await self._engine.purge_documents()

    async def put_alias(self, alias: str, collection: str) -> str:
        """Lets an alias mean a collection; what it meant before, empty if it is new."""
        return await self._catalog.put_alias(alias, collection)

    async def delete_alias(self, alias: str) -> None:
        """Removes an alias; AliasNotFound."""
        await self._catalog.delete_alias(alias)

    async def alias_page(self, after: str, limit: int, *, shown: Shown = EVERYTHING) -> list[tuple[str, str]]:
        """Up to `limit` aliases that follow `after` with their collections, by name, where both are shown."""
        found = sorted((await self._catalog.aliases()).items())
        hidden = {spec.name for spec in await self._catalog.all() if not shown.collection(spec)}
        return [
            (alias, target)
            for alias, target in found
            if alias > after and shown.name(alias) and shown.name(target) and target not in hidden
        ][:limit]


def new_generation(collection: str, model: ModelSpec) -> Generation:
    """A table of its own for a collection's points as a model embeds them."""
    name = new_table_name(collection)
    return Generation(name, model.name, model.fingerprint, model.embed_dim, stamped=True)
