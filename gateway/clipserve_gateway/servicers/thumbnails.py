"""CollectionService: thumbnails."""

from __future__ import annotations

from clipserve.v1 import collection_pb2

from clipserve_gateway.access.call import Call
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.read_size import bytes_to_read
from clipserve_gateway.collection.thumbnails import Thumbnails
from clipserve_gateway.convert import thumbnails as convert
from clipserve_gateway.flow.admission import Cost


class ThumbnailServicer:
    """GetThumbnail of CollectionService."""

    def __init__(self, thumbnails: Thumbnails, catalog: Catalog, calls: Calls) -> None:
        self._thumbnails = thumbnails
        self._catalog = catalog
        self._calls = calls

    async def GetThumbnail(
        self, request: collection_pb2.GetThumbnailRequest, call: Call
    ) -> collection_pb2.GetThumbnailResponse:
        """Returns a small JPEG of a point's image."""
        max_side = convert.read_thumbnail(request)
        spec = await self._catalog.get(request.collection)
        reads = bytes_to_read(1, self._calls.limits, with_sources=True) if spec.keep_sources else 0
        async with self._calls.admit(Cost(), call, reads=reads) as deadline:
            thumbnail = await self._thumbnails.make(spec, request.id, max_side=max_side, deadline=deadline)
        return convert.write_thumbnail(thumbnail)
