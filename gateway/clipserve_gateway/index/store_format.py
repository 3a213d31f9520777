"""The version of a store's format, which is a document in the store.

A store without this document has format 1. A change that older gateways would misread increases FORMAT, so
that they refuse the store instead.
"""

from __future__ import annotations

import contextlib
import json

from clipserve_gateway.errors import StorageFailed, StorageRefused
from clipserve_gateway.index.base import Document, Engine

FORMAT = 1
KEY = "store/format"


def check_format(document: Document | None) -> None:
    """Raises StorageRefused for a store that a newer gateway wrote."""
    version = format_of(document)
    if version > FORMAT:
        raise StorageRefused(
            f"the store has format {version}, and this gateway reads formats up to {FORMAT}: a newer gateway "
            "wrote it; update this one"
        )


def format_of(document: Document | None) -> int:
    """The store's format. Raises StorageFailed if the document is not valid."""
    if document is None:
        return 1
    with contextlib.suppress(ValueError, KeyError, TypeError):
        version = json.loads(document.value)["format"]
        if isinstance(version, int) and version >= 1:
            return version
    raise StorageFailed(f"the document {KEY!r}, which holds the store's format, cannot be read")


async def mark_format(engine: Engine) -> None:
    """Writes the document if it does not exist. Engines check it when they open a store."""
    if await engine.get_document(KEY) is None:
        await engine.put_document(KEY, json.dumps({"format": FORMAT}).encode(), version=0)
