"""CollectionService: collections and their points."""

from __future__ import annotations

from clipserve.v1 import collection_pb2, collection_pb2_grpc
from grpc.aio import ServicerContext

from clipserve_gateway.collection_ops import CollectionOps
from clipserve_gateway.convert import collections as convert
from clipserve_gateway.servicers.calls import Calls
from clipserve_gateway.types import Limits


class CollectionServicer(collection_pb2_grpc.CollectionServiceServicer):
    """See protos/clipserve/v1/collection.proto."""

    def __init__(self, collections: CollectionOps, limits: Limits, calls: Calls) -> None:
        self._collections = collections
        self._limits = limits
        self._calls = calls

    async def CreateCollection(
        self, request: collection_pb2.CreateCollectionRequest, context: ServicerContext
    ) -> collection_pb2.CreateCollectionResponse:
        """Makes an empty collection for one model."""
        call = convert.read_create(request)
        spec = await self._collections.create(call.name, call.model, call.schema)
        return collection_pb2.CreateCollectionResponse(collection=convert.write_collection(spec, 0))

    async def GetCollection(
        self, request: collection_pb2.GetCollectionRequest, context: ServicerContext
    ) -> collection_pb2.GetCollectionResponse:
        """Tells one collection."""
        spec = await self._collections.get(request.name)
        count = await self._collections.count(spec.name)
        return collection_pb2.GetCollectionResponse(collection=convert.write_collection(spec, count))

    async def ListCollections(
        self, request: collection_pb2.ListCollectionsRequest, context: ServicerContext
    ) -> collection_pb2.ListCollectionsResponse:
        """Lists the collections by name, page by page."""
        after, size = convert.read_page(request)
        found = await self._collections.page(after, size + 1)
        page = found[:size]
        counts = zip(page, await self._collections.counts(page), strict=True)
        return collection_pb2.ListCollectionsResponse(
            collections=[convert.write_collection(spec, n) for spec, n in counts if n is not None],
            next_page_token=convert.write_page_token(page[-1].name) if len(found) > size else "",
        )

    async def DeleteCollection(
        self, request: collection_pb2.DeleteCollectionRequest, context: ServicerContext
    ) -> collection_pb2.DeleteCollectionResponse:
        """Deletes a collection and all its points."""
        await self._collections.drop(request.name)
        return collection_pb2.DeleteCollectionResponse()

    async def UpsertPoints(
        self, request: collection_pb2.UpsertPointsRequest, context: ServicerContext
    ) -> collection_pb2.UpsertPointsResponse:
        """Adds points, or replaces those whose ids exist."""
        spec = await self._collections.get(request.collection)
        points = convert.read_points(request, spec, self._limits)
        with self._calls.items(len(points)):
            statuses = await self._collections.upsert(
                spec, points, fingerprint=request.fingerprint, deadline=self._calls.deadline(context)
            )
        self._calls.count_errors(statuses)
        return convert.write_upsert(statuses, points, spec)

    async def DeletePoints(
        self, request: collection_pb2.DeletePointsRequest, context: ServicerContext
    ) -> collection_pb2.DeletePointsResponse:
        """Deletes points by id."""
        ids = convert.read_ids(request.ids, self._limits)
        return collection_pb2.DeletePointsResponse(
            deleted=await self._collections.delete(request.collection, ids)
        )

    async def GetPoints(
        self, request: collection_pb2.GetPointsRequest, context: ServicerContext
    ) -> collection_pb2.GetPointsResponse:
        """Gets points by id."""
        ids = convert.read_ids(request.ids, self._limits)
        spec = await self._collections.get(request.collection)
        points = await self._collections.fetch(spec.name, ids, with_embeddings=request.with_embeddings)
        return collection_pb2.GetPointsResponse(
            points=map(convert.write_point, points), model=convert.write_model(spec)
        )

    async def CountPoints(
        self, request: collection_pb2.CountPointsRequest, context: ServicerContext
    ) -> collection_pb2.CountPointsResponse:
        """Counts the points, all or those that meet a filter."""
        spec = await self._collections.get(request.collection)
        filter = convert.read_optional_filter(request, spec)
        return collection_pb2.CountPointsResponse(count=await self._collections.count(spec.name, filter))
