"""Writing, deleting, getting and counting points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clipserve.calls.base import Calls, Progress
from clipserve.errors import FingerprintMismatch
from clipserve.filters.conditions import Filter
from clipserve.jobs.base import OnError
from clipserve.jobs.points import DeletePointsJob, GetPointsJob, UpsertJob
from clipserve.messages.point_requests import count_request, delete_request, scroll_request
from clipserve.messages.responses import read_point
from clipserve.types import Point, StoredPoint, UpsertResult
from clipserve.v1 import collection_pb2


class PointCalls(Calls):
    """Methods of CollectionService that are about points."""

    def upsert(
        self,
        collection: str,
        points: Iterable[Point],
        *,
        fingerprint: str = "",
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> UpsertResult:
        """Adds points, or replaces those whose ids exist. What is answered as written survives a crash.

        Args:
            points: drawn as requests are built, so a generator of a million is fine; no id twice.
            fingerprint: of the model that made the points' embeddings; a collection of another one refuses.
        """
        job = UpsertJob(collection, points, fingerprint=fingerprint, on_error=on_error)
        return self._run(job, timeout, progress)

    def upsert_stream(
        self,
        collection: str,
        batches: Iterable[Iterable[Point]],
        *,
        fingerprint: str = "",
        on_error: OnError = "raise",
        timeout: float | None = None,
    ) -> Iterator[UpsertResult]:
        """Adds points batch after batch over one stream, for sources without end: one result for each batch.

        Batches are drawn as answers come, a few ahead; a result that has come says what is on disk. Nothing
        is sent before the first result is asked for. `timeout` is for each answer, not for the stream.
        """

        def start(batch: Iterable[Point]) -> UpsertJob:
            return UpsertJob(collection, batch, fingerprint=fingerprint, on_error=on_error)

        return self._stream(UpsertJob.stream, batches, start, timeout)

    def delete_points(
        self,
        collection: str,
        ids: Iterable[str] | None = None,
        *,
        filter: Filter | str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Deletes points by id, or those that meet a filter, and says how many existed."""
        if filter is not None and ids is None:
            return int(self._call("DeletePoints", delete_request(collection, filter), timeout).deleted)
        if ids is None or filter is not None:
            raise TypeError("delete_points needs exactly one of ids and filter")
        return int(self._run(DeletePointsJob(collection, ids), timeout))

    def get_points(
        self,
        collection: str,
        ids: Iterable[str],
        *,
        with_embeddings: bool = False,
        with_sources: bool = False,
        timeout: float | None = None,
    ) -> tuple[StoredPoint, ...]:
        """The points that exist, in the order of the ids.

        Args:
            with_sources: returns what they were made of too, where that is kept.
        """
        job = GetPointsJob(collection, ids, with_embeddings=with_embeddings, with_sources=with_sources)
        return tuple(self._run(job, timeout))

    def scroll(
        self,
        collection: str,
        *,
        filter: Filter | str | None = None,
        with_embeddings: bool = False,
        with_sources: bool = False,
        page_size: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[StoredPoint]:
        """All points, or those that meet a filter, in the order of their ids.

        They are asked for page after page, as they are drawn.

        A point that is there all the while comes exactly once, whatever is written meanwhile. `timeout` is
        for each page.

        Args:
            page_size: points asked for at a time; the server may send fewer. None: 1,000.

        Raises FingerprintMismatch where the collection's model changes under way: embeddings of two models
        must not be mixed.
        """
        request = scroll_request(
            collection,
            filter=filter,
            with_embeddings=with_embeddings,
            with_sources=with_sources,
            page_size=page_size,
        )
        return self._scrolled(request, timeout)

    def _scrolled(
        self, request: collection_pb2.ScrollPointsRequest, timeout: float | None
    ) -> Iterator[StoredPoint]:
        fingerprint = ""
        for page in self._pages("ScrollPoints", request, timeout):
            now = page.model.fingerprint
            if request.with_embeddings and fingerprint not in ("", now):
                raise FingerprintMismatch(
                    f"{request.collection!r} moved to model {page.model.name!r} under way; start again",
                    metadata={"before": fingerprint, "now": now},
                )
            fingerprint = now
            yield from map(read_point, page.points)

    def count(
        self, collection: str, filter: Filter | str | None = None, *, timeout: float | None = None
    ) -> int:
        """How many points there are, or how many meet a filter."""
        return int(self._call("CountPoints", count_request(collection, filter), timeout).count)
