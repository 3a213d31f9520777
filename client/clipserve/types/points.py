"""Points: to write, as stored, and the result of writing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy.typing as npt

from clipserve.errors import ClipserveError
from clipserve.types.payload import Floats, Payload
from clipserve.types.server import ModelRef

if TYPE_CHECKING:
    from clipserve.inputs.image_like import ImageLike


@dataclass(frozen=True, eq=False)
class Point:
    """A point to write: an id, exactly one of image, text and embedding, and a payload.

    An embedding can be combined with its image or text. A collection that keeps sources then stores both, so
    points can be restored without embedding them again.
    """

    id: str
    """UTF-8, 1–512 bytes, unique in the collection."""
    image: ImageLike | None = None
    text: str | None = None
    embedding: npt.ArrayLike | None = None
    """D numbers, of the collection's model. The server normalizes them."""
    payload: Payload = field(default_factory=dict)
    source_uri: str = ""
    """Where a migration to another model can read the image or text again, e.g.
    ``file:///data/photos/1.jpg``; at most 2,048 bytes."""
    must_be_new: bool = False
    """Write the point only if the collection has no point with this id; otherwise its error is `PointExists`.
    If an answer is lost and the call is repeated, the second call finds the point of the first one. Requires
    ``ServerInfo.inserts_new_points``."""


@dataclass(frozen=True, eq=False)
class StoredPoint:
    """A stored point."""

    id: str
    payload: Payload
    embedding: Floats | None
    """L2-normalized float32 [D]; None unless requested."""
    image: bytes | None = None
    """The encoded image that was embedded; None unless requested and stored."""
    text: str | None = None
    """The text that was embedded; None unless requested and stored."""
    source_uri: str = ""
    """Where the image or text can be read again; empty if unknown."""


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a point."""

    jpeg: bytes
    """A JPEG file in RGB."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True)
class UpsertResult:
    """The result of writing points."""

    written: int
    """Number of points that are now on disk."""
    model: ModelRef | None
    """The collection's model; None if no point reached the server."""
    errors: Mapping[int, ClipserveError] = field(default_factory=dict)
    """Errors by the point's position."""
    truncated: tuple[int, ...] = ()
    """Positions of points whose text was truncated to the model's context."""
