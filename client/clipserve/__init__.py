"""Client of clipserve: classify, embed and search images with a CLIP model over gRPC.

>>> import clipserve
>>> client = clipserve.Client("localhost:8600")
>>> client.classify(["cat.jpg"], ["cat", "dog"])[0].label
'cat'

Names are imported on first use: importing only the generated stubs in `clipserve.v1` loads nothing else.
"""

# ruff: noqa: F403, F405
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from clipserve._version import __version__

if TYPE_CHECKING:
    from clipserve.client import Client
    from clipserve.errors import *
    from clipserve.filters.conditions import F, Filter
    from clipserve.filters.text import parse_filter
    from clipserve.inputs.image_like import ExactPixels, ImageLike
    from clipserve.labels import LabelSet, NoneOfTheAbove, label_set
    from clipserve.retry import RetryPolicy
    from clipserve.token import TokenFile
    from clipserve.transport.channel import Tls
    from clipserve.types import *

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
"""Modules with the public names, in the order of the search: cheap imports first."""

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
    "EmbeddingFormat",
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
    "ImageRules",
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
    "Thumbnail",
    "Tls",
    "TokenFile",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UpsertResult",
    "Violation",
    "Weighted",
    "__version__",
    "dequantize",
    "label_set",
    "parse_filter",
]


def __getattr__(name: str) -> Any:
    for path in MODULES if name in __all__ else ():
        module = importlib.import_module(f"clipserve.{path}")
        if hasattr(module, name):
            globals()[name] = getattr(module, name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
