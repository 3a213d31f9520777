"""Loads a model from files that may be damaged in any way."""

from __future__ import annotations

from typing import Any

from clipserve_exporter.errors import ExportError
from clipserve_exporter.source import Source, load
from clipserve_exporter.sources.fit import first_line

LARGEST_SCALE = 1e6
"""Far above the logit scales of all known models, which are at most 120."""


def load_any(model: str, *arguments: Any) -> Source:
    """See source.load. Raises ExportError, also for errors of libraries and for an impossible logit scale."""
    try:
        source = load(model, *arguments)
        scale = source.logit_scale
    except ExportError:
        raise
    except Exception as error:  # Libraries raise errors of many kinds for damaged files.
        raise ExportError(
            f"{model} cannot be loaded: its configuration or its weights are damaged "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error
    if not 0 < scale <= LARGEST_SCALE:
        raise ExportError(
            f"the model multiplies cosines by {scale:g}; a logit scale is above 0 and up to {LARGEST_SCALE:g}"
        )
    return source
