"""Client of clipserve: classify, embed and search pictures with a CLIP model over gRPC.

>>> import clipserve
>>> client = clipserve.Client("localhost:8600")
>>> client.classify(["cat.jpg"], ["cat", "dog"])[0].label
'cat'

Names are imported when they are first used, so that the generated stubs in `clipserve.v1`, which live in
this package, cost no more than themselves.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from clipserve._version import __version__

if TYPE_CHECKING:
    from clipserve.channel import Tls
    from clipserve.client import Client
    from clipserve.errors import (
        AlreadyExists,
        BatchError,
        Cancelled,
        ClipserveError,
        CollectionExists,
        CollectionNotFound,
        DeadlineExceeded,
        DimensionMismatch,
        FailedPrecondition,
        FingerprintMismatch,
        ImageError,
        ImageFormatUnsupported,
        ImageTooLarge,
        ImageUnreadable,
        InferenceFailed,
        InternalError,
        InvalidArgument,
        InvalidEmbedding,
        InvalidFilter,
        InvalidInput,
        InvalidPayload,
        LimitExceeded,
        ModelNotFound,
        ModelUnavailable,
        NotFound,
        Overloaded,
        PermissionDenied,
        ResourceExhausted,
        StorageFailed,
        Unauthenticated,
        Unavailable,
        Unimplemented,
        Violation,
    )
    from clipserve.filters import F, Filter
    from clipserve.images import ImageLike
    from clipserve.labels import LabelSet, label_set
    from clipserve.retry import RetryPolicy
    from clipserve.types import (
        Classification,
        ClassifyResult,
        Collection,
        EmbedResult,
        Hit,
        LabelScore,
        Limits,
        ModelInfo,
        ModelRef,
        Payload,
        PayloadValue,
        Point,
        SearchResult,
        ServerInfo,
        StoredPoint,
        UpsertResult,
    )

MODULES = ("errors", "types", "labels", "filters", "images", "retry", "channel", "client")
"""Where the public names live, the lightest first."""

__all__ = [
    "AlreadyExists",
    "BatchError",
    "Cancelled",
    "Classification",
    "ClassifyResult",
    "Client",
    "ClipserveError",
    "Collection",
    "CollectionExists",
    "CollectionNotFound",
    "DeadlineExceeded",
    "DimensionMismatch",
    "EmbedResult",
    "F",
    "FailedPrecondition",
    "Filter",
    "FingerprintMismatch",
    "Hit",
    "ImageError",
    "ImageFormatUnsupported",
    "ImageLike",
    "ImageTooLarge",
    "ImageUnreadable",
    "InferenceFailed",
    "InternalError",
    "InvalidArgument",
    "InvalidEmbedding",
    "InvalidFilter",
    "InvalidInput",
    "InvalidPayload",
    "LabelScore",
    "LabelSet",
    "LimitExceeded",
    "Limits",
    "ModelInfo",
    "ModelNotFound",
    "ModelRef",
    "ModelUnavailable",
    "NotFound",
    "Overloaded",
    "Payload",
    "PayloadValue",
    "PermissionDenied",
    "Point",
    "ResourceExhausted",
    "RetryPolicy",
    "SearchResult",
    "ServerInfo",
    "StorageFailed",
    "StoredPoint",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UpsertResult",
    "Violation",
    "__version__",
    "label_set",
]


def __getattr__(name: str) -> Any:
    for home in MODULES if name in __all__ else ():
        module = importlib.import_module(f"clipserve.{home}")
        if hasattr(module, name):
            globals()[name] = found = getattr(module, name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
