"""Write, delete, get and count points."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from clipserve.calls.base import Calls, Progress
from clipserve.errors import FingerprintMismatch
from clipserve.filters.conditions import Filter
from clipserve.jobs.base import OnError
from clipserve.jobs.points import DeletePointsJob, GetPointsJob, UpsertJob
from clipserve.messages.point_requests import PAGE_SIZE, write_filter
from clipserve.messages.responses import read_fields, read_point
from clipserve.types import Point, StoredPoint, Thumbnail, UpsertResult
from clipserve.v1 import collection_pb2


class PointCalls(Calls):
    """Methods of CollectionService for points."""

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
        """Adds points, and replaces points whose ids exist. Acknowledged points survive a server crash.

        Args:
            points: with distinct ids. They are read as requests are built, so a long generator works.
            fingerprint: of the model that made the points' embeddings. The server refuses collections of
                another model.
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
        """Writes batches of a long or endless source over one stream. Yields one result for each batch.

        Batches are read as answers arrive, a few ahead of them; the points of a yielded result are on disk.
        Nothing is sent before the first result is requested. `timeout` applies to each answer.
        """
        new_job = functools.partial(UpsertJob, collection, fingerprint=fingerprint, on_error=on_error)
        return self._stream(UpsertJob.stream, batches, new_job, timeout)

    def delete_points(
        self,
        collection: str,
        ids: Iterable[str] | None = None,
        *,
        filter: Filter | str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Deletes points by id or by filter. Returns the number of points that existed."""
        if filter is not None and ids is None:
            request = collection_pb2.DeletePointsRequest(collection=collection, filter=write_filter(filter))
            return int(self._call("DeletePoints", request, timeout).deleted)
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
        """The points with these ids, in the order of the ids. Ids without a point are skipped.

        Args:
            with_sources: also returns the image or text of each point, if stored.
        """
        job = GetPointsJob(collection, ids, with_embeddings=with_embeddings, with_sources=with_sources)
        return tuple(self._run(job, timeout))

    def get_thumbnail(
        self, collection: str, id: str, *, size: int = 256, timeout: float | None = None
    ) -> Thumbnail:
        """A small JPEG of a point's picture, upright and on the collection's background.

        Raises SourcesNotKept if the collection does not store the picture, and PointNotFound.

        Args:
            size: most pixels of the longer side, 16 … 1,024. Smaller pictures are not enlarged.
        """
        request = collection_pb2.GetThumbnailRequest(collection=collection, id=id, max_side=size)
        return read_fields(Thumbnail, self._call("GetThumbnail", request, timeout))

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
        """All points, or the points that match a filter, sorted by id. Pages are requested as needed.

        Concurrent writes do not matter: a point that exists during the whole scroll is returned exactly once.
        `timeout` applies to each page.

        Args:
            page_size: points per page; the server may send fewer. None: 1,000.

        Raises FingerprintMismatch if the collection switches to another model during the scroll and
        embeddings are requested.
        """
        if page_size is not None and page_size < 1:
            raise ValueError(f"page_size is {page_size}; it must be at least 1")
        request = collection_pb2.ScrollPointsRequest(
            collection=collection,
            filter=write_filter(filter),
            page_size=min(page_size or PAGE_SIZE, 2**31 - 1),
            with_embeddings=with_embeddings,
            with_sources=with_sources,
        )
        return self._scroll_pages(request, timeout)

    def _scroll_pages(
        self, request: collection_pb2.ScrollPointsRequest, timeout: float | None
    ) -> Iterator[StoredPoint]:
        first = ""
        for page in self._pages("ScrollPoints", request, timeout):
            model = page.model
            first = first or model.fingerprint
            if request.with_embeddings and model.fingerprint != first:
                raise FingerprintMismatch(
                    f"{request.collection!r} switched to model {model.name!r} during the scroll; start again",
                    metadata={"before": first, "now": model.fingerprint},
                )
            yield from map(read_point, page.points)

    def count(
        self, collection: str, filter: Filter | str | None = None, *, timeout: float | None = None
    ) -> int:
        """The number of points, or of points that match a filter."""
        request = collection_pb2.CountPointsRequest(collection=collection, filter=write_filter(filter))
        return int(self._call("CountPoints", request, timeout).count)
