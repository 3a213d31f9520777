"""The version of a store's format, kept as a document beside the collections' own.

Stores of gateways that wrote no version are of format 1. A change that older gateways would misread raises
FORMAT, so that they refuse the store instead.
"""

from __future__ import annotations

import contextlib
import json

from clipserve_gateway.errors import StorageFailed, StorageRefused
from clipserve_gateway.index.base import Document, Engine

FORMAT = 1
KEY = "store/format"


def check_format(document: Document | None) -> None:
    """StorageRefused for a store that a newer gateway wrote."""
    found = format_of(document)
    if found > FORMAT:
        raise StorageRefused(
            f"the store has format {found}, and this gateway reads formats up to {FORMAT}: a newer gateway "
            "wrote it; update this one"
        )


def format_of(document: Document | None) -> int:
    """The store's format; StorageFailed for a document that does not tell it."""
    if document is None:
        return 1
    with contextlib.suppress(ValueError, KeyError, TypeError):
        found = json.loads(document.value)["format"]
        if isinstance(found, int) and found >= 1:
            return found
    raise StorageFailed(f"the document {KEY!r}, which tells the store's format, cannot be read")


async def mark_format(engine: Engine) -> None:
    """Writes the document where there is none; engines check it when they are opened."""
    if await engine.get_document(KEY) is None:
        await engine.put_document(KEY, json.dumps({"format": FORMAT}).encode(), version=0)
