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
    from clipserve.client import Client
    from clipserve.errors import (
        AliasNotFound,
        AlreadyExists,
        BatchError,
        Cancelled,
        ClientNotUsable,
        ClipserveError,
        CollectionExists,
        CollectionHasAliases,
        CollectionNotFound,
        Conflict,
        DeadlineExceeded,
        DimensionMismatch,
        FailedPrecondition,
        FingerprintMismatch,
        ImageError,
        ImageFormatUnsupported,
        ImageTooLarge,
        ImageUnreadable,
        InferenceFailed,
        InputWarning,
        InternalError,
        InvalidArgument,
        InvalidEmbedding,
        InvalidFilter,
        InvalidInput,
        InvalidPayload,
        LabelSetNotFound,
        LabelsWarning,
        LimitExceeded,
        MigrationConflict,
        ModelNotFound,
        ModelUnavailable,
        NotFound,
        Overloaded,
        PermissionDenied,
        PointExists,
        PointNotFound,
        RateLimited,
        ResourceExhausted,
        SourcesNotKept,
        StorageFailed,
        StorageUnavailable,
        StoreNotWritable,
        Unauthenticated,
        Unavailable,
        Unimplemented,
        Violation,
    )
    from clipserve.filters.conditions import F, Filter
    from clipserve.filters.text import parse_filter
    from clipserve.inputs.image_like import ExactPixels, ImageLike
    from clipserve.labels import LabelSet, NoneOfTheAbove, label_set
    from clipserve.retry import RetryPolicy
    from clipserve.token import TokenFile
    from clipserve.transport.channel import Tls
    from clipserve.types import (
        Classification,
        ClassifyResult,
        Collection,
        EmbedResult,
        FailedPoint,
        Hit,
        IndexOptions,
        IndexStatus,
        LabelScore,
        LabelSetInfo,
        LabelWarning,
        Limits,
        Migration,
        ModelInfo,
        ModelRef,
        NamedLabelSet,
        NeighborOverlap,
        Payload,
        PayloadValue,
        Point,
        ScoreStatistics,
        SearchResult,
        ServerInfo,
        StoredPoint,
        UpsertResult,
        Weighted,
    )

MODULES = (
    "errors",
    "types",
    "labels",
    "filters.conditions",
    "filters.text",
    "inputs.image_like",
    "retry",
    "token",
    "transport.channel",
    "client",
)
"""Where the public names live, the lightest first."""

__all__ = [
    "AliasNotFound",
    "AlreadyExists",
    "BatchError",
    "Cancelled",
    "Classification",
    "ClassifyResult",
    "Client",
    "ClientNotUsable",
    "ClipserveError",
    "Collection",
    "CollectionExists",
    "CollectionHasAliases",
    "CollectionNotFound",
    "Conflict",
    "DeadlineExceeded",
    "DimensionMismatch",
    "EmbedResult",
    "ExactPixels",
    "F",
    "FailedPoint",
    "FailedPrecondition",
    "Filter",
    "FingerprintMismatch",
    "Hit",
    "ImageError",
    "ImageFormatUnsupported",
    "ImageLike",
    "ImageTooLarge",
    "ImageUnreadable",
    "IndexOptions",
    "IndexStatus",
    "InferenceFailed",
    "InputWarning",
    "InternalError",
    "InvalidArgument",
    "InvalidEmbedding",
    "InvalidFilter",
    "InvalidInput",
    "InvalidPayload",
    "LabelScore",
    "LabelSet",
    "LabelSetInfo",
    "LabelSetNotFound",
    "LabelWarning",
    "LabelsWarning",
    "LimitExceeded",
    "Limits",
    "Migration",
    "MigrationConflict",
    "ModelInfo",
    "ModelNotFound",
    "ModelRef",
    "ModelUnavailable",
    "NamedLabelSet",
    "NeighborOverlap",
    "NoneOfTheAbove",
    "NotFound",
    "Overloaded",
    "Payload",
    "PayloadValue",
    "PermissionDenied",
    "Point",
    "PointExists",
    "PointNotFound",
    "RateLimited",
    "ResourceExhausted",
    "RetryPolicy",
    "ScoreStatistics",
    "SearchResult",
    "ServerInfo",
    "SourcesNotKept",
    "StorageFailed",
    "StorageUnavailable",
    "StoreNotWritable",
    "StoredPoint",
    "Tls",
    "TokenFile",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UpsertResult",
    "Violation",
    "Weighted",
    "__version__",
    "label_set",
    "parse_filter",
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
