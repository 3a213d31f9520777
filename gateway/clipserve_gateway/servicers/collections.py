"""CollectionService: collections and aliases."""

from __future__ import annotations

from clipserve.v1 import collection_pb2 as pb

from clipserve_gateway.access.call import Call
from clipserve_gateway.access.caller import visible
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.collection.management import CollectionOps
from clipserve_gateway.convert import collections as convert
from clipserve_gateway.convert import pages
from clipserve_gateway.convert.common import check_fits


class CollectionServicer:
    """The methods of CollectionService for collections and aliases."""

    def __init__(self, collections: CollectionOps, calls: Calls) -> None:
        self._collections = collections
        self._calls = calls

    async def CreateCollection(
        self, request: pb.CreateCollectionRequest, call: Call
    ) -> pb.CreateCollectionResponse:
        """Creates an empty collection for one model."""
        new = convert.read_create(request)
        with self._calls.audit.change("CreateCollection", call.peer, collection=new.name) as entry:
            facts = await self._collections.create(
                new.name,
                new.model,
                new.schema,
                keep_sources=new.keep_sources,
                index=new.index,
                rules=new.rules,
            )
            entry["model"] = facts.spec.serving.fingerprint
        return pb.CreateCollectionResponse(collection=convert.write_collection(facts))

    async def GetCollection(self, request: pb.GetCollectionRequest, call: Call) -> pb.GetCollectionResponse:
        """Returns one collection, with the state of its index and of its migration."""
        facts = await self._collections.get(request.name, shown=visible())
        return pb.GetCollectionResponse(collection=convert.write_collection(facts))

    async def ListCollections(
        self, request: pb.ListCollectionsRequest, call: Call
    ) -> pb.ListCollectionsResponse:
        """Lists the collections by name, page by page."""
        after, size = pages.read_page(request)
        page = await self._collections.page(after, size + 1, shown=visible())
        response = pb.ListCollectionsResponse(
            collections=map(convert.write_collection, page[:size]),
            next_page_token=pages.write_page_token(page[size - 1].spec.name) if len(page) > size else "",
        )
        return check_fits(response, self._calls.limits, "page_size")

    async def DeleteCollection(
        self, request: pb.DeleteCollectionRequest, call: Call
    ) -> pb.DeleteCollectionResponse:
        """Deletes a collection and all its points."""
        with self._calls.audit.change("DeleteCollection", call.peer, collection=request.name):
            await self._collections.drop(request.name, shown=visible())
        return pb.DeleteCollectionResponse()

    async def PurgeCollection(
        self, request: pb.PurgeCollectionRequest, call: Call
    ) -> pb.PurgeCollectionResponse:
        """Removes deleted and replaced points from all files now."""
        with self._calls.audit.change("PurgeCollection", call.peer, collection=request.name):
            await self._collections.purge(request.name)
        return pb.PurgeCollectionResponse()

    async def PutAlias(self, request: pb.PutAliasRequest, call: Call) -> pb.PutAliasResponse:
        """Creates an alias, or points it to another collection."""
        alias = convert.read_collection_name(request.alias.name, "alias.name")
        after = request.alias.collection
        with self._calls.audit.change("PutAlias", call.peer, alias=alias, after=after) as entry:
            entry["before"] = before = await self._collections.put_alias(alias, after)
        # Another caller may have moved the alias since this call was authorized.
        return pb.PutAliasResponse(previous_collection=before if visible().sees(before) else "")

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, call: Call) -> pb.DeleteAliasResponse:
        """Deletes an alias; the collection stays."""
        with self._calls.audit.change("DeleteAlias", call.peer, alias=request.name):
            await self._collections.delete_alias(request.name)
        return pb.DeleteAliasResponse()

    async def ListAliases(self, request: pb.ListAliasesRequest, call: Call) -> pb.ListAliasesResponse:
        """Lists the aliases by name, page by page."""
        after, size = pages.read_page(request)
        page = await self._collections.alias_page(after, size + 1, shown=visible())
        return pb.ListAliasesResponse(
            aliases=[pb.Alias(name=name, collection=target) for name, target in page[:size]],
            next_page_token=pages.write_page_token(page[size - 1][0]) if len(page) > size else "",
        )
