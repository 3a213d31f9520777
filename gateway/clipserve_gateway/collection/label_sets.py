"""Label sets kept under names, with versions, shared by all gateways on one engine."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cachetools import TTLCache

from clipserve_gateway.collection.catalog import BELIEF_SECONDS
from clipserve_gateway.errors import Conflict, LabelSetNotFound
from clipserve_gateway.index.base import Document, Engine
from clipserve_gateway.inference.label_cache import LabelEmbeddings, remember
from clipserve_gateway.inference.text_store import (
    TEXT_VERSION,
    TextEmbeddings,
    content_key,
    read_embeddings,
    write_embeddings,
)
from clipserve_gateway.types import LabelSet, LabelSetRef, ModelSpec, NoneOfTheAbove

HEADS, VERSIONS, EMBEDDINGS = "labels/head/", "labels/version/", "labels/embeddings/"
FORMER_PROMPTS = ("a photo.", "a picture of something.", "an image.", "a photo of something else.")
UPDATE_ATTEMPTS = 16
CACHE_BYTES = 32 << 20
"""Of label sets that calls find without asking the engine."""
TEXT_OVERHEAD = 64
"""Bytes of a short text as an object, beside its characters (estimated)."""


@dataclass(frozen=True)
class StoredLabelSet:
    """One version of a label set."""

    ref: LabelSetRef
    labels: LabelSet
    content_hash: str
    create_time: dt.datetime
    versions: tuple[int, ...]
    """Those that are kept, oldest first."""


@dataclass(frozen=True)
class LabelSetSummary:
    """One version of a label set without its labels, which may have tens of megabytes."""

    ref: LabelSetRef
    label_count: int
    template_count: int
    none_of_the_above: bool
    content_hash: str
    create_time: dt.datetime
    versions: tuple[int, ...]


def summary(stored: StoredLabelSet) -> LabelSetSummary:
    """What is known of a label set, without its labels."""
    return LabelSetSummary(
        stored.ref,
        len(stored.labels.names),
        len(stored.labels.templates),
        stored.labels.none_of_the_above is not None,
        stored.content_hash,
        stored.create_time,
        stored.versions,
    )


def stored_bytes(stored: StoredLabelSet) -> int:
    """Bytes that a label set takes in memory, about."""
    labels = stored.labels
    texts = [*labels.names, *labels.templates]
    if labels.none_of_the_above is not None:
        texts += [labels.none_of_the_above.name, *labels.none_of_the_above.prompts]
    return sum(map(len, texts)) + TEXT_OVERHEAD * len(texts) + 32 * len(labels.thresholds)


@dataclass(frozen=True)
class _Head:
    """What versions of a label set there are; `last` is never given to another content."""

    versions: tuple[int, ...]
    last: int


class LabelSets:
    """Label sets by name and version.

    A version is written before the head that names it, and removed after, so that no reader finds a hole.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._believed: TTLCache[LabelSetRef, StoredLabelSet] = TTLCache(
            CACHE_BYTES, BELIEF_SECONDS, getsizeof=stored_bytes
        )

    async def put(self, name: str, labels: LabelSet) -> tuple[StoredLabelSet, bool]:
        """Keeps a label set as the next version, unless the latest is the same; whether it was kept anew."""
        content_hash = hash_of(labels)
        for _ in range(UPDATE_ATTEMPTS):
            document = await self._engine.get_document(HEADS + name)
            head = _Head((), 0) if document is None else read_head(document)
            if head.versions:
                latest = await self._version(LabelSetRef(name, head.versions[-1]), head)
                if latest is not None and latest.content_hash == content_hash:
                    return latest, False
            ref = LabelSetRef(name, head.last + 1)
            versions = (*head.versions, ref.version)
            stored = StoredLabelSet(ref, labels, content_hash, dt.datetime.now(dt.timezone.utc), versions)
            if not await self._engine.put_document(VERSIONS + path(ref), write_version(stored), version=0):
                # Another put is just there, or died between its two steps: leave its number to it.
                await self._skip(name, document, head)
                continue
            at = 0 if document is None else document.version
            value = write_head(_Head(versions, ref.version))
            if await self._engine.put_document(HEADS + name, value, version=at):
                self._believed.clear()
                return stored, True
        raise Conflict(f"label set {name!r} is being changed by others; try again")

    async def _skip(self, name: str, document: Document | None, head: _Head) -> None:
        """Counts a version number as used."""
        at = 0 if document is None else document.version
        await self._engine.put_document(
            HEADS + name, write_head(_Head(head.versions, head.last + 1)), version=at
        )

    async def get(self, ref: LabelSetRef, field: str = "ref") -> StoredLabelSet:
        """A version of a label set, version 0 being the latest; LabelSetNotFound, whose field is in `ref`."""
        document = await self._engine.get_document(HEADS + ref.name)
        head = _Head((), 0) if document is None else read_head(document)
        if head.versions:
            found = await self._version(LabelSetRef(ref.name, ref.version or head.versions[-1]), head)
            if found is not None:
                return found
            known = ", ".join(map(str, head.versions))
            raise LabelSetNotFound(
                f"label set {ref.name!r} has no version {ref.version}; there are {known}",
                field=f"{field}.version",
            )
        raise LabelSetNotFound(f"there is no label set {ref.name[:80]!r}", field=f"{field}.name")

    async def choose(
        self, labels: LabelSet | None, ref: LabelSetRef | None
    ) -> tuple[LabelSet, LabelSetRef | None]:
        """What a call names: labels of its own, or a label set that is kept, with the version it has."""
        if labels is not None:
            return labels, None
        ref = ref or LabelSetRef("")
        stored = self._believed.get(ref)
        if stored is None:
            stored = await self.get(ref, "label_set")
            remember(self._believed, ref, stored)
        return stored.labels, stored.ref

    async def _version(self, ref: LabelSetRef, head: _Head) -> StoredLabelSet | None:
        if ref.version not in head.versions:
            return None
        document = await self._engine.get_document(VERSIONS + path(ref))
        return None if document is None else read_version(ref, document, head)

    async def page(
        self, after: str, limit: int, shown: Callable[[str], bool] = lambda name: True
    ) -> list[LabelSetSummary]:
        """The latest versions of up to `limit` shown label sets whose names follow `after`, by name."""
        found: list[LabelSetSummary] = []
        for document in await self._engine.documents(HEADS):
            name, head = document.key.removeprefix(HEADS), read_head(document)
            if name > after and head.versions and len(found) < limit and shown(name):
                latest = await self._version(LabelSetRef(name, head.versions[-1]), head)
                found += [] if latest is None else [summary(latest)]
        return found

    async def delete(self, ref: LabelSetRef) -> int:
        """Removes one version, or all for version 0; how many. LabelSetNotFound."""
        for _ in range(UPDATE_ATTEMPTS):
            await self.get(ref)
            document = await self._engine.get_document(HEADS + ref.name)
            if document is None:
                continue
            head = read_head(document)
            gone = [version for version in head.versions if ref.version in (0, version)]
            left = _Head(tuple(version for version in head.versions if version not in gone), head.last)
            # The head stays even when nothing is left: a number is never given out twice.
            if await self._engine.put_document(HEADS + ref.name, write_head(left), version=document.version):
                self._believed.clear()
                for version in gone:
                    await self._remove(LabelSetRef(ref.name, version))
                return len(gone)
        raise Conflict(f"label set {ref.name!r} is being changed by others; try again")

    async def _remove(self, ref: LabelSetRef) -> None:
        found = await self._engine.documents(EMBEDDINGS + path(ref) + "/")
        version = await self._engine.get_document(VERSIONS + path(ref))
        for document in [*found, *([] if version is None else [version])]:
            await self._engine.delete_document(document.key, version=document.version)

    async def embeddings(self, ref: LabelSetRef, spec: ModelSpec, rows: int) -> LabelEmbeddings | None:
        """The embeddings kept for a model, if there are any of as many rows."""
        document = await self._engine.get_document(embeddings_key(ref, spec))
        found = None if document is None else read_embeddings(document.value, rows, spec.embed_dim)
        return None if found is None else LabelEmbeddings(found.matrix, found.truncated)

    async def keep_embeddings(self, ref: LabelSetRef, spec: ModelSpec, found: LabelEmbeddings) -> None:
        """Keeps the embeddings for a model; whoever came first wins, they are the same."""
        value = write_embeddings(TextEmbeddings(found.matrix, found.truncated_prompts))
        await self._engine.put_document(embeddings_key(ref, spec), value, version=0)
        if await self._engine.get_document(VERSIONS + path(ref)) is None:
            # It was deleted while it was used; nothing must be left of it.
            await self._remove(ref)


def embeddings_key(ref: LabelSetRef, spec: ModelSpec) -> str:
    """Where the embeddings of a version by a model are kept; as earlier releases did for TEXT_VERSION 1."""
    version = f"/{TEXT_VERSION}" if TEXT_VERSION > 1 else ""
    return f"{EMBEDDINGS}{path(ref)}/{spec.fingerprint}{version}"


def hash_of(labels: LabelSet) -> str:
    """Equal where labels, templates, thresholds and the rest are."""
    return content_key(dataclasses.asdict(labels))


def path(ref: LabelSetRef) -> str:
    """Name and version in a document's key."""
    return f"{ref.name}/{ref.version}"


def write_head(head: _Head) -> bytes:
    """A head's document."""
    return json.dumps(dataclasses.asdict(head)).encode()


def read_head(document: Document) -> _Head:
    """The head in a document."""
    facts = json.loads(document.value)
    return _Head(tuple(facts["versions"]), facts["last"])


def write_version(stored: StoredLabelSet) -> bytes:
    """A version's document."""
    labels = dataclasses.asdict(stored.labels)
    if stored.labels.needs_negative_words:
        # Releases without negative words read the prompts, which were the default then.
        labels["none_of_the_above"] |= {"prompts": FORMER_PROMPTS, "negative_words": True}
    facts = {
        "labels": labels,
        "content_hash": stored.content_hash,
        "create_time": stored.create_time.isoformat(),
    }
    return json.dumps(facts).encode()


def read_version(ref: LabelSetRef, document: Document, head: _Head) -> StoredLabelSet:
    """The version in a document."""
    facts = json.loads(document.value)
    found = facts["labels"]
    none = found["none_of_the_above"]
    labels = LabelSet(
        names=tuple(found["names"]),
        templates=tuple(found["templates"]),
        thresholds=tuple(found["thresholds"]),
        none_of_the_above=none and read_none(none),
    )
    created = dt.datetime.fromisoformat(facts["create_time"])
    return StoredLabelSet(ref, labels, facts["content_hash"], created, head.versions)


def read_none(facts: dict[str, Any]) -> NoneOfTheAbove:
    """None of the above as it was kept; where nothing speaks of negative words, by prompts."""
    prompts = () if facts.get("negative_words") else tuple(facts["prompts"])
    return NoneOfTheAbove(facts["name"], prompts, facts["threshold"])
