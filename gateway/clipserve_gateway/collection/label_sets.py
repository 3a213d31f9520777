"""Stored label sets with versions, shared by all gateways on one engine."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cachetools import TTLCache

from clipserve_gateway.collection.catalog import CACHE_SECONDS
from clipserve_gateway.errors import LabelSetNotFound, concurrent_change
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

T = TypeVar("T")
HEADS, VERSIONS, EMBEDDINGS = "labels/head/", "labels/version/", "labels/embeddings/"
FORMER_PROMPTS = ("a photo.", "a picture of something.", "an image.", "a photo of something else.")
UPDATE_ATTEMPTS = 16
CACHE_BYTES = 32 << 20
"""Size of the cache of label sets."""
TEXT_OVERHEAD = 64
"""Bytes of a str object without its characters (estimated)."""


@dataclass(frozen=True)
class StoredLabelSet:
    """One version of a label set."""

    ref: LabelSetRef
    labels: LabelSet
    content_hash: str
    create_time: dt.datetime
    versions: tuple[int, ...]
    """All stored versions, oldest first."""


def stored_bytes(stored: StoredLabelSet) -> int:
    """Approximate memory of a label set in bytes."""
    labels = stored.labels
    texts = [*labels.names, *labels.templates]
    if labels.none_of_the_above is not None:
        texts += [labels.none_of_the_above.name, *labels.none_of_the_above.prompts]
    return sum(map(len, texts)) + TEXT_OVERHEAD * len(texts) + 32 * len(labels.thresholds)


@dataclass(frozen=True)
class _Head:
    """The versions of a label set; `last` is the highest number ever used, which is never reused."""

    versions: tuple[int, ...]
    last: int


class LabelSets:
    """Label sets by name and version.

    A version is written before the head that lists it, and deleted after, so that all listed versions exist.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cache: TTLCache[LabelSetRef, StoredLabelSet] = TTLCache(
            CACHE_BYTES, CACHE_SECONDS, getsizeof=stored_bytes
        )

    async def put(self, name: str, labels: LabelSet) -> tuple[StoredLabelSet, bool]:
        """Stores a label set as the next version unless it equals the latest; True if it was stored."""
        content_hash = content_key(dataclasses.asdict(labels))
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
                # Another caller is writing this version, or died between its two steps: skip the number.
                await self._put_head(name, document, _Head(head.versions, head.last + 1))
                continue
            if await self._put_head(name, document, _Head(versions, ref.version)):
                return stored, True
        raise concurrent_change("label set", name)

    async def _put_head(self, name: str, document: Document | None, head: _Head) -> bool:
        """Replaces the head that was read as `document`; False if it has changed since."""
        version = 0 if document is None else document.version
        value = json.dumps(dataclasses.asdict(head)).encode()
        written = await self._engine.put_document(HEADS + name, value, version=version)
        if written:
            self._cache.clear()
        return written

    async def get(self, ref: LabelSetRef, field: str = "ref") -> StoredLabelSet:
        """A version of a label set; version 0 is the latest. Raises LabelSetNotFound for `field`."""
        document = await self._engine.get_document(HEADS + ref.name)
        head = _Head((), 0) if document is None else read_head(document)
        if head.versions:
            stored = await self._version(LabelSetRef(ref.name, ref.version or head.versions[-1]), head)
            if stored is not None:
                return stored
            versions = ", ".join(map(str, head.versions))
            raise LabelSetNotFound(
                f"label set {ref.name!r} has no version {ref.version}; its versions are: {versions}",
                field=f"{field}.version",
            )
        raise LabelSetNotFound(f"there is no label set {ref.name[:80]!r}", field=f"{field}.name")

    async def resolve(
        self, labels: LabelSet | None, label_set_ref: LabelSetRef | None
    ) -> tuple[LabelSet, LabelSetRef | None]:
        """The labels of a call: its own, or those of the label set that it names, with the version."""
        if labels is not None:
            return labels, None
        ref = label_set_ref or LabelSetRef("")
        stored = self._cache.get(ref)
        if stored is None:
            stored = await self.get(ref, "label_set")
            remember(self._cache, ref, stored)
        return stored.labels, stored.ref

    async def _version(self, ref: LabelSetRef, head: _Head) -> StoredLabelSet | None:
        if ref.version not in head.versions:
            return None
        document = await self._engine.get_document(VERSIONS + path(ref))
        return None if document is None else read_version(ref, document, head)

    async def page(
        self,
        after: str,
        limit: int,
        write: Callable[[StoredLabelSet], T],
        shown: Callable[[str], bool] = lambda name: True,
    ) -> list[T]:
        """The latest versions of up to `limit` shown label sets whose names follow `after`, by name.

        Args:
            write: gets each of them in turn; together they could fill the memory.
        """
        written: list[T] = []
        for document in await self._engine.documents(HEADS):
            name, head = document.key.removeprefix(HEADS), read_head(document)
            if name > after and head.versions and len(written) < limit and shown(name):
                latest = await self._version(LabelSetRef(name, head.versions[-1]), head)
                written += [] if latest is None else [write(latest)]
        return written

    async def delete(self, ref: LabelSetRef) -> int:
        """Deletes one version, or all for version 0; returns how many. Raises LabelSetNotFound."""
        for _ in range(UPDATE_ATTEMPTS):
            await self.get(ref)
            document = await self._engine.get_document(HEADS + ref.name)
            if document is None:
                continue
            head = read_head(document)
            deleted = [version for version in head.versions if ref.version in (0, version)]
            remaining = tuple(version for version in head.versions if version not in deleted)
            # The head stays even without versions, because version numbers are never reused.
            if await self._put_head(ref.name, document, _Head(remaining, head.last)):
                for version in deleted:
                    await self._remove(LabelSetRef(ref.name, version))
                return len(deleted)
        raise concurrent_change("label set", ref.name)

    async def _remove(self, ref: LabelSetRef) -> None:
        embeddings = await self._engine.documents(EMBEDDINGS + path(ref) + "/")
        version = await self._engine.get_document(VERSIONS + path(ref))
        for document in [*embeddings, *([] if version is None else [version])]:
            await self._engine.delete_document(document.key, version=document.version)

    async def embeddings(self, ref: LabelSetRef, spec: ModelSpec, rows: int) -> LabelEmbeddings | None:
        """The stored embeddings by a model; None if there are none with this number of rows."""
        document = await self._engine.get_document(embeddings_key(ref, spec))
        stored = None if document is None else read_embeddings(document.value, rows, spec.embed_dim)
        return None if stored is None else LabelEmbeddings(stored.matrix, stored.truncated)

    async def keep_embeddings(self, ref: LabelSetRef, spec: ModelSpec, embeddings: LabelEmbeddings) -> None:
        """Stores the embeddings by a model, unless another caller has stored them: they are the same."""
        value = write_embeddings(TextEmbeddings(embeddings.matrix, embeddings.truncated_prompts))
        await self._engine.put_document(embeddings_key(ref, spec), value, version=0)
        if await self._engine.get_document(VERSIONS + path(ref)) is None:
            # The version was deleted in the meantime.
            await self._remove(ref)


def embeddings_key(ref: LabelSetRef, spec: ModelSpec) -> str:
    """The key of the embeddings of a version by a model; the key of earlier releases for TEXT_VERSION 1."""
    version = f"/{TEXT_VERSION}" if TEXT_VERSION > 1 else ""
    return f"{EMBEDDINGS}{path(ref)}/{spec.fingerprint}{version}"


def path(ref: LabelSetRef) -> str:
    """Name and version, as in keys of documents."""
    return f"{ref.name}/{ref.version}"


def read_head(document: Document) -> _Head:
    """The head in a document."""
    facts = json.loads(document.value)
    return _Head(tuple(facts["versions"]), facts["last"])


def write_version(stored: StoredLabelSet) -> bytes:
    """The document of a version."""
    labels = dataclasses.asdict(stored.labels)
    if stored.labels.needs_negative_words:
        # Older releases, without negative words, read the prompts, which were their default.
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
    fields = facts["labels"]
    none = fields["none_of_the_above"]
    labels = LabelSet(
        names=tuple(fields["names"]),
        templates=tuple(fields["templates"]),
        thresholds=tuple(fields["thresholds"]),
        none_of_the_above=none and read_none(none),
    )
    created_at = dt.datetime.fromisoformat(facts["create_time"])
    return StoredLabelSet(ref, labels, facts["content_hash"], created_at, head.versions)


def read_none(facts: dict[str, Any]) -> NoneOfTheAbove:
    """The stored none of the above; scored by prompts unless it says negative words."""
    prompts = () if facts.get("negative_words") else tuple(facts["prompts"])
    return NoneOfTheAbove(facts["name"], prompts, facts["threshold"])
