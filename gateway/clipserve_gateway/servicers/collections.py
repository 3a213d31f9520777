"""CollectionService: collections, aliases, points, and migrations to other models."""

from __future__ import annotations

from collections.abc import AsyncIterator

from clipserve.v1 import collection_pb2, collection_pb2_grpc
from grpc.aio import ServicerContext

from clipserve_gateway.access.audit_log import AuditLog, ids_fact
from clipserve_gateway.access.authorizer import judged
from clipserve_gateway.access.caller import visible
from clipserve_gateway.collection.management import CollectionOps
from clipserve_gateway.collection.migration import Migrator
from clipserve_gateway.collection.points import PointOps
from clipserve_gateway.collection.read_size import bytes_to_read
from clipserve_gateway.convert import collections as convert
from clipserve_gateway.convert import pages, points
from clipserve_gateway.convert.common import check_fits
from clipserve_gateway.convert.filters import read_optional_filter
from clipserve_gateway.convert.status import item_status
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow.admission import Cost, cost_of
from clipserve_gateway.flow.concurrency import KeyLocks
from clipserve_gateway.process.off_loop import STEPS_OF_AN_INPUT, off_loop
from clipserve_gateway.servicers.admitted_call import Calls
from clipserve_gateway.servicers.ordered_stream import in_order
from clipserve_gateway.types import Limits

MAX_FILTER = 1_000
"""Characters of a filter in the audit log."""


class CollectionServicer(collection_pb2_grpc.CollectionServiceServicer):
    """See protos/clipserve/v1/collection.proto."""

    def __init__(
        self,
        collections: CollectionOps,
        points: PointOps,
        migrator: Migrator,
        limits: Limits,
        calls: Calls,
        audit: AuditLog,
    ) -> None:
        self._collections = collections
        self._points = points
        self._migrator = migrator
        self._limits = limits
        self._calls = calls
        self._audit = audit

    async def CreateCollection(
        self, request: collection_pb2.CreateCollectionRequest, context: ServicerContext
    ) -> collection_pb2.CreateCollectionResponse:
        """Makes an empty collection for one model."""
        call = convert.read_create(request)
        with self._audit.change("CreateCollection", context.peer(), collection=call.name) as entry:
            facts = await self._collections.create(
                call.name, call.model, call.schema, keep_sources=call.keep_sources, index=call.index
            )
            entry["model"] = facts.spec.serving.fingerprint
        return collection_pb2.CreateCollectionResponse(collection=convert.write_collection(facts))

    async def GetCollection(
        self, request: collection_pb2.GetCollectionRequest, context: ServicerContext
    ) -> collection_pb2.GetCollectionResponse:
        """Tells one collection, with the state of its index and of its migration."""
        return collection_pb2.GetCollectionResponse(collection=await self._collection(request.name))

    async def _collection(self, name: str) -> collection_pb2.Collection:
        return convert.write_collection(await self._collections.get(name, shown=visible))

    async def ListCollections(
        self, request: collection_pb2.ListCollectionsRequest, context: ServicerContext
    ) -> collection_pb2.ListCollectionsResponse:
        """Lists the collections by name, page by page."""
        after, size = pages.read_page(request)
        found = await self._collections.page(after, size + 1, shown=visible)
        response = collection_pb2.ListCollectionsResponse(
            collections=map(convert.write_collection, found[:size]),
            next_page_token=pages.write_page_token(found[size - 1].spec.name) if len(found) > size else "",
        )
        return check_fits(response, self._limits, "page_size")

    async def DeleteCollection(
        self, request: collection_pb2.DeleteCollectionRequest, context: ServicerContext
    ) -> collection_pb2.DeleteCollectionResponse:
        """Deletes a collection and all its points."""
        with self._audit.change("DeleteCollection", context.peer(), collection=request.name):
            await self._collections.drop(request.name, shown=visible)
        return collection_pb2.DeleteCollectionResponse()

    async def PurgeCollection(
        self, request: collection_pb2.PurgeCollectionRequest, context: ServicerContext
    ) -> collection_pb2.PurgeCollectionResponse:
        """Takes points that were deleted or replaced out of all files now."""
        with self._audit.change("PurgeCollection", context.peer(), collection=request.name):
            await self._collections.purge(request.name)
        return collection_pb2.PurgeCollectionResponse()

    async def PutAlias(
        self, request: collection_pb2.PutAliasRequest, context: ServicerContext
    ) -> collection_pb2.PutAliasResponse:
        """Makes an alias, or lets it mean another collection."""
        alias = convert.read_collection_name(request.alias.name, "alias.name")
        after = request.alias.collection
        with self._audit.change("PutAlias", context.peer(), alias=alias, after=after) as entry:
            entry["before"] = before = await self._collections.put_alias(alias, after)
        # Another caller may have moved it since this one was judged.
        return collection_pb2.PutAliasResponse(previous_collection=before if visible.name(before) else "")

    async def DeleteAlias(
        self, request: collection_pb2.DeleteAliasRequest, context: ServicerContext
    ) -> collection_pb2.DeleteAliasResponse:
        """Deletes an alias; the collection stays."""
        with self._audit.change("DeleteAlias", context.peer(), alias=request.name):
            await self._collections.delete_alias(request.name)
        return collection_pb2.DeleteAliasResponse()

    async def ListAliases(
        self, request: collection_pb2.ListAliasesRequest, context: ServicerContext
    ) -> collection_pb2.ListAliasesResponse:
        """Lists the aliases by name, page by page."""
        after, size = pages.read_page(request)
        found = await self._collections.alias_page(after, size + 1, shown=visible)
        return collection_pb2.ListAliasesResponse(
            aliases=[collection_pb2.Alias(name=name, collection=target) for name, target in found[:size]],
            next_page_token=pages.write_page_token(found[size - 1][0]) if len(found) > size else "",
        )

    async def UpsertPoints(
        self, request: collection_pb2.UpsertPointsRequest, context: ServicerContext
    ) -> collection_pb2.UpsertPointsResponse:
        """Adds points, or replaces those whose ids exist."""
        return await self._upsert(request, context)

    async def _upsert(
        self, request: collection_pb2.UpsertPointsRequest, context: ServicerContext, *, patient: bool = False
    ) -> collection_pb2.UpsertPointsResponse:
        spec = await self._points.collection(request.collection)
        steps = STEPS_OF_AN_INPUT * len(request.points)
        found = await off_loop(steps, lambda: points.read_points(request, spec, self._limits))
        cost = cost_of(it if isinstance(it, ClipserveError) else it.source for it in found)
        ids = ids_fact([point.id for point in request.points])
        async with self._calls.place(cost, context, patient=patient) as deadline:
            with self._audit.change("UpsertPoints", context.peer(), collection=spec.name, **ids) as entry:
                outcome = await self._points.upsert(
                    spec, found, fingerprint=request.fingerprint, deadline=deadline
                )
                entry["refused"] = sum(status is not None for status in outcome.statuses)
        self._calls.count_errors(outcome.statuses)
        return points.write_upsert(outcome, found, spec)

    async def UpsertPointsStream(
        self, requests: AsyncIterator[collection_pb2.UpsertPointsStreamRequest], context: ServicerContext
    ) -> AsyncIterator[collection_pb2.UpsertPointsStreamResponse]:
        """Adds points batch after batch; a batch that is refused is answered, and the stream goes on.

        Batches are worked on side by side, but for those that share ids: the later one wins.
        """
        locks: KeyLocks[str] = KeyLocks()

        async def answer(
            request: collection_pb2.UpsertPointsStreamRequest,
        ) -> collection_pb2.UpsertPointsStreamResponse:
            try:
                async with locks.hold(point.id for point in request.request.points):
                    response = await judged(
                        request.request, lambda batch: self._upsert(batch, context, patient=True)
                    )
            except ClipserveError as error:
                status = item_status(error, "request")
                return collection_pb2.UpsertPointsStreamResponse(batch_id=request.batch_id, status=status)
            return collection_pb2.UpsertPointsStreamResponse(batch_id=request.batch_id, response=response)

        async for response in in_order(requests, answer, window=self._limits.stream_window):
            yield response

    async def DeletePoints(
        self, request: collection_pb2.DeletePointsRequest, context: ServicerContext
    ) -> collection_pb2.DeletePointsResponse:
        """Deletes points by id, or those that meet a filter."""
        spec = await self._points.collection(request.collection)
        wanted = points.read_deletion(request, spec, self._limits)
        async with self._calls.place(Cost(), context) as deadline:
            what = ids_fact(wanted) if isinstance(wanted, list) else {"filter": str(wanted)[:MAX_FILTER]}
            with self._audit.change("DeletePoints", context.peer(), collection=spec.name, **what) as entry:
                if isinstance(wanted, list):
                    deleted = await self._points.delete(spec.name, wanted, deadline)
                else:
                    deleted = await self._points.delete_where(spec, wanted, deadline)
                entry["deleted"] = deleted
        return collection_pb2.DeletePointsResponse(deleted=deleted)

    async def GetPoints(self, request: collection_pb2.GetPointsRequest, context: ServicerContext) -> bytes:
        """Gets points by id. The answer is encoded already."""
        ids = points.read_ids(request.ids, self._limits)
        spec = await self._points.collection(request.collection)
        reads = bytes_to_read(
            len(ids),
            self._limits,
            dim=spec.dim if request.with_embeddings else 0,
            with_sources=request.with_sources,
        )
        async with self._calls.place(Cost(), context, reads=reads) as deadline:
            found = await self._points.fetch(
                spec,
                ids,
                with_embeddings=request.with_embeddings,
                with_sources=request.with_sources,
                max_bytes=self._limits.max_message_bytes,
                deadline=deadline,
            )
        return await off_loop(
            points.write_steps(found),
            lambda: points.write_points(found, spec, self._limits).SerializeToString(),
        )

    async def ScrollPoints(
        self, request: collection_pb2.ScrollPointsRequest, context: ServicerContext
    ) -> bytes:
        """Pages through the points in the order of their ids. The answer is encoded already."""
        after, size = pages.read_page(request, self._limits.max_page_size)
        spec = await self._points.collection(request.collection)
        filter = read_optional_filter(request, spec.schema, self._limits)
        reads = bytes_to_read(
            size,
            self._limits,
            dim=spec.dim if request.with_embeddings else 0,
            with_sources=request.with_sources,
        )
        async with self._calls.place(Cost(), context, reads=reads) as deadline:
            page = await self._points.scroll(
                spec,
                after=after,
                limit=size,
                filter=filter,
                with_embeddings=request.with_embeddings,
                with_sources=request.with_sources,
                max_bytes=self._limits.max_message_bytes,
                deadline=deadline,
            )
        return await off_loop(
            points.write_steps(page.points),
            lambda: points.write_scroll(page, spec, self._limits).SerializeToString(),
        )

    async def CountPoints(
        self, request: collection_pb2.CountPointsRequest, context: ServicerContext
    ) -> collection_pb2.CountPointsResponse:
        """Counts the points, all or those that meet a filter."""
        spec = await self._points.collection(request.collection)
        filter = read_optional_filter(request, spec.schema, self._limits)
        async with self._calls.place(Cost(), context) as deadline:
            count = await self._points.count(spec, filter, deadline)
        return collection_pb2.CountPointsResponse(count=count)

    async def StartMigration(
        self, request: collection_pb2.StartMigrationRequest, context: ServicerContext
    ) -> collection_pb2.StartMigrationResponse:
        """Begins to move a collection to another model."""
        with self._audit.change("StartMigration", context.peer(), collection=request.collection) as entry:
            spec = await self._migrator.start(request.collection, request.to_model)
            entry["model"] = spec.serving.fingerprint
        return collection_pb2.StartMigrationResponse(collection=await self._collection(spec.name))

    async def SwitchMigration(
        self, request: collection_pb2.SwitchMigrationRequest, context: ServicerContext
    ) -> collection_pb2.SwitchMigrationResponse:
        """Lets the collection answer with the new model."""
        with self._audit.change("SwitchMigration", context.peer(), collection=request.collection) as entry:
            spec = await self._migrator.switch(
                request.collection,
                without_failed=request.without_failed,
                accept_dropped=request.accept_dropped,
            )
            entry["model"] = spec.serving.fingerprint
        return collection_pb2.SwitchMigrationResponse(collection=await self._collection(spec.name))

    async def RollBackMigration(
        self, request: collection_pb2.RollBackMigrationRequest, context: ServicerContext
    ) -> collection_pb2.RollBackMigrationResponse:
        """Lets the collection answer with the old model again."""
        with self._audit.change("RollBackMigration", context.peer(), collection=request.collection) as entry:
            spec = await self._migrator.roll_back(request.collection, accept_dropped=request.accept_dropped)
            entry["model"] = spec.serving.fingerprint
        return collection_pb2.RollBackMigrationResponse(collection=await self._collection(spec.name))

    async def EndMigration(
        self, request: collection_pb2.EndMigrationRequest, context: ServicerContext
    ) -> collection_pb2.EndMigrationResponse:
        """Ends the migration with the model that answers now."""
        with self._audit.change("EndMigration", context.peer(), collection=request.collection) as entry:
            spec = await self._migrator.end(request.collection)
            entry["model"] = spec.serving.fingerprint
        return collection_pb2.EndMigrationResponse(collection=await self._collection(spec.name))
