"""Collections and their aliases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from clipserve.calls.base import Calls
from clipserve.inputs.text_encoding import utf8
from clipserve.messages.collection_responses import read_collection
from clipserve.messages.point_requests import PAGE_SIZE, create_collection_request
from clipserve.types import Collection, ImageRules, IndexOptions
from clipserve.v1 import collection_pb2 as pb


class CollectionCalls(Calls):
    """Methods of CollectionService for whole collections.

    Every method except `delete_collection` accepts an alias as the name of a collection.
    """

    def create_collection(
        self,
        name: str,
        *,
        schema: Mapping[str, str] | None = None,
        model: str = "",
        metric: Literal["cosine"] = "cosine",
        keep_sources: bool = False,
        index: IndexOptions = IndexOptions(),  # noqa: B008  (frozen)
        image_rules: ImageRules | None = None,
        timeout: float | None = None,
    ) -> Collection:
        """Creates an empty collection for one model.

        Args:
            name: 3 to 64 letters, digits, `_` and `-`; the first is a letter or `_`.
            schema: type of each payload field: string, int, double, bool, timestamp or string_list.
            model: name of the model of the collection's embeddings; empty means the server's default.
            keep_sources: also stores the image or text of every point, so that the collection can be migrated
                to another model.
            index: options of the vector index; the engine's defaults if not given.
            image_rules: the rules for its images; the server's if not given. Name those of its embeddings to
                restore a collection.
        """
        request = create_collection_request(
            name, schema or {}, model, metric, keep_sources, index, image_rules
        )
        return read_collection(self._call("CreateCollection", request, timeout, idempotent=False).collection)

    def get_collection(self, name: str, *, timeout: float | None = None) -> Collection:
        """One collection, with the state of its index and migration; raises CollectionNotFound."""
        request = pb.GetCollectionRequest(name=utf8(name, "name"))
        return read_collection(self._call("GetCollection", request, timeout).collection)

    def list_collections(self, *, timeout: float | None = None) -> tuple[Collection, ...]:
        """All collections, sorted by name."""
        request = pb.ListCollectionsRequest(page_size=PAGE_SIZE)
        pages = self._pages("ListCollections", request, timeout)
        return tuple(read_collection(collection) for page in pages for collection in page.collections)

    def delete_collection(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes a collection and its points permanently; raises CollectionHasAliases if it has aliases."""
        request = pb.DeleteCollectionRequest(name=name)
        self._call("DeleteCollection", request, timeout, idempotent=False)

    def purge_collection(self, name: str, *, timeout: float | None = None) -> None:
        """Removes deleted and replaced points from all files now; raises CollectionNotFound.

        This rewrites files: it takes seconds, and longer for large collections.
        """
        request = pb.PurgeCollectionRequest(name=name)
        self._call("PurgeCollection", request, timeout)

    def put_alias(self, alias: str, collection: str, *, timeout: float | None = None) -> str:
        """Creates an alias, or points it to another collection.

        Returns the alias's previous collection; empty if the alias is new.
        """
        named = pb.Alias(name=alias, collection=collection)
        # Not idempotent: a second call would return the new collection as the previous one.
        request = pb.PutAliasRequest(alias=named)
        return str(self._call("PutAlias", request, timeout, idempotent=False).previous_collection)

    def delete_alias(self, alias: str, *, timeout: float | None = None) -> None:
        """Deletes an alias, not its collection; raises AliasNotFound."""
        request = pb.DeleteAliasRequest(name=alias)
        self._call("DeleteAlias", request, timeout, idempotent=False)

    def list_aliases(self, *, timeout: float | None = None) -> dict[str, str]:
        """The collection of each alias, by alias."""
        request = pb.ListAliasesRequest(page_size=PAGE_SIZE)
        pages = self._pages("ListAliases", request, timeout)
        return {alias.name: alias.collection for page in pages for alias in page.aliases}
