"""The form in which the images and texts of points are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clipserve_gateway.index.values import Point, Source
from clipserve_gateway.inputs import preprocess
from clipserve_gateway.types import EncodedImage, Floats, Input, RawImage


async def stored_source(source: Input | Floats) -> Source | None:
    """The source to store; None for an embedding. Raw pixels become a PNG, which is lossless."""
    if isinstance(source, EncodedImage):
        return Source("image", source.content)
    if isinstance(source, RawImage):
        png = await asyncio.to_thread(preprocess.to_png, source)
        return Source("image", png)
    return Source("text", source.encode()) if isinstance(source, str) else None


def source_bytes(points: Sequence[Point]) -> int:
    """Total bytes of the points' sources."""
    return sum(len(point.source.content) for point in points if point.source is not None)
