"""CollectionService: points."""

from __future__ import annotations

from collections.abc import AsyncIterator

from clipserve.v1 import collection_pb2 as pb

from clipserve_gateway.access.audit_log import ids_fact
from clipserve_gateway.access.call import Call
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.points import PointOps
from clipserve_gateway.collection.read_size import bytes_to_read
from clipserve_gateway.convert import pages
from clipserve_gateway.convert import points as convert
from clipserve_gateway.convert.filters import read_optional_filter
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow.admission import Cost, cost_of
from clipserve_gateway.flow.concurrency import KeyLocks
from clipserve_gateway.process.off_loop import STEPS_OF_AN_INPUT, off_loop
from clipserve_gateway.servicers.ordered_stream import answer_batch, in_order

MAX_FILTER = 1_000
"""Characters of a filter in the audit log."""


class PointServicer:
    """The methods of CollectionService for points."""

    def __init__(self, points: PointOps, catalog: Catalog, calls: Calls) -> None:
        self._points = points
        self._catalog = catalog
        self._calls = calls

    async def UpsertPoints(
        self, request: pb.UpsertPointsRequest, call: Call, *, wait_for_room: bool = False
    ) -> pb.UpsertPointsResponse:
        """Adds points, and replaces those whose ids exist."""
        spec = await self._catalog.get(request.collection)
        steps = STEPS_OF_AN_INPUT * len(request.points)
        points = await off_loop(steps, lambda: convert.read_points(request, spec, self._calls.limits))
        cost = cost_of(point if isinstance(point, ClipserveError) else point.source for point in points)
        ids = ids_fact([point.id for point in request.points])
        async with self._calls.admit(cost, call, wait_for_room=wait_for_room) as deadline:
            with self._calls.audit.change("UpsertPoints", call.peer, collection=spec.name, **ids) as entry:
                outcome = await self._points.upsert(
                    spec, points, fingerprint=request.fingerprint, deadline=deadline
                )
                entry["refused"] = sum(status is not None for status in outcome.statuses)
        self._calls.count_errors(outcome.statuses)
        return convert.write_upsert(outcome, points, spec)

    async def UpsertPointsStream(
        self, requests: AsyncIterator[pb.UpsertPointsStreamRequest], call: Call
    ) -> AsyncIterator[pb.UpsertPointsStreamResponse]:
        """Adds points batch after batch. A refused batch is answered with its status, the stream continues.

        Batches are worked on at the same time. Those that share ids are written in order: the last one wins.
        """
        locks: KeyLocks[str] = KeyLocks()

        async def answer(
            request: pb.UpsertPointsStreamRequest,
        ) -> pb.UpsertPointsStreamResponse:
            async with locks.hold(point.id for point in request.request.points):
                return await answer_batch(
                    *(self._calls, call, request, pb.UpsertPointsStreamResponse),
                    lambda batch: self.UpsertPoints(batch, call, wait_for_room=True),
                )

        async for response in in_order(requests, answer, window=self._calls.limits.stream_window):
            yield response

    async def DeletePoints(self, request: pb.DeletePointsRequest, call: Call) -> pb.DeletePointsResponse:
        """Deletes points by id or by filter."""
        spec = await self._catalog.get(request.collection)
        wanted = convert.read_deletion(request, spec, self._calls.limits)
        async with self._calls.admit(Cost(), call) as deadline:
            what = ids_fact(wanted) if isinstance(wanted, list) else {"filter": str(wanted)[:MAX_FILTER]}
            with self._calls.audit.change("DeletePoints", call.peer, collection=spec.name, **what) as entry:
                if isinstance(wanted, list):
                    deleted = await self._points.delete(spec.name, wanted, deadline)
                else:
                    deleted = await self._points.delete_where(spec, wanted, deadline)
                entry["deleted"] = deleted
        return pb.DeletePointsResponse(deleted=deleted)

    async def GetPoints(self, request: pb.GetPointsRequest, call: Call) -> bytes:
        """Returns points by id. The answer is encoded."""
        ids = convert.read_ids(request.ids, self._calls.limits)
        spec = await self._catalog.get(request.collection)
        reads = bytes_to_read(
            len(ids),
            self._calls.limits,
            dim=spec.dim if request.with_embeddings else 0,
            with_sources=request.with_sources,
        )
        async with self._calls.admit(Cost(), call, reads=reads) as deadline:
            points = await self._points.fetch(
                spec,
                ids,
                with_embeddings=request.with_embeddings,
                with_sources=request.with_sources,
                max_bytes=self._calls.limits.max_message_bytes,
                deadline=deadline,
            )
        return await off_loop(
            convert.write_steps(points),
            lambda: convert.write_points(points, spec, self._calls.limits).SerializeToString(),
        )

    async def ScrollPoints(self, request: pb.ScrollPointsRequest, call: Call) -> bytes:
        """Returns one page of the points in the order of their ids. The answer is encoded."""
        after, size = pages.read_page(request, self._calls.limits.max_page_size)
        spec = await self._catalog.get(request.collection)
        filter = read_optional_filter(request, spec.schema, self._calls.limits)
        reads = bytes_to_read(
            size,
            self._calls.limits,
            dim=spec.dim if request.with_embeddings else 0,
            with_sources=request.with_sources,
        )
        async with self._calls.admit(Cost(), call, reads=reads) as deadline:
            page = await self._points.scroll(
                spec,
                after=after,
                limit=size,
                filter=filter,
                with_embeddings=request.with_embeddings,
                with_sources=request.with_sources,
                max_bytes=self._calls.limits.max_message_bytes,
                deadline=deadline,
            )
        return await off_loop(
            convert.write_steps(page.points),
            lambda: convert.write_scroll(page, spec, self._calls.limits).SerializeToString(),
        )

    async def CountPoints(self, request: pb.CountPointsRequest, call: Call) -> pb.CountPointsResponse:
        """Counts all points, or those that match a filter."""
        spec = await self._catalog.get(request.collection)
        filter = read_optional_filter(request, spec.schema, self._calls.limits)
        async with self._calls.admit(Cost(), call) as deadline:
            count = await self._points.count(spec, filter, deadline)
        return pb.CountPointsResponse(count=count)
