"""Thumbnails of the images that collections store."""

from __future__ import annotations

import functools

from clipserve_gateway.collection.points import PointOps
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.errors import InvalidInput, PointNotFound, SourcesNotKept
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.stages import stage
from clipserve_gateway.inputs.decode_pool import DecodePool
from clipserve_gateway.inputs.image_limits import ImageLimits
from clipserve_gateway.inputs.thumbnail import Thumbnail, make_small_thumbnail, make_thumbnail
from clipserve_gateway.types import Limits


class Thumbnails:
    """Makes thumbnails in the decode pool, in the lanes and turns of all other images."""

    def __init__(self, points: PointOps, pool: DecodePool, limits: Limits) -> None:
        self._points = points
        self._pool = pool
        # Pixels that were sent raw are stored as a PNG, which may have more bytes than an image that is sent.
        self._limits = ImageLimits(limits.max_message_bytes, limits.max_image_pixels)

    async def make(
        self, collection: CollectionSpec, id: str, *, max_side: int, deadline: Deadline
    ) -> Thumbnail:
        """A thumbnail of a point's image, by the collection's rules for images.

        Raises SourcesNotKept if the image is not stored, PointNotFound, Overloaded, or an ImageError with
        field `id` if a stored file cannot be decoded.
        """
        if not collection.keep_sources:
            raise SourcesNotKept(
                f"collection {collection.name!r} does not store pictures; "
                "create one with keep_sources and write the points again",
                field="collection",
            )
        points = await self._points.fetch(
            collection,
            [id],
            with_embeddings=False,
            with_sources=True,
            max_bytes=self._limits.max_bytes,
            deadline=deadline,
        )
        if not points:
            raise PointNotFound(f"collection {collection.name!r} has no point {id[:80]!r}", field="id")
        source = points[0].source
        if source is None or source.kind != "image":
            made_of = "an embedding alone" if source is None else "a text"
            raise SourcesNotKept(f"point {id[:80]!r} has no picture: it was made of {made_of}", field="id")
        how = (source.content, max_side, collection.serving.rules, self._limits)
        small = functools.partial(make_small_thumbnail, *how)
        whole = functools.partial(make_thumbnail, *how)
        self._pool.check(1, deadline)
        with stage("decode"):
            try:
                return await self._pool.run_by_size(small, whole, deadline=deadline)
            except InvalidInput as error:
                raise error.at("id") from None
