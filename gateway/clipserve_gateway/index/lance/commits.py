"""Writes that are repeated where another one got in the way, and what their failures mean."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pyarrow as pa

from clipserve_gateway.errors import ClipserveError, StorageFailed, StorageRefused

PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
"""Of a column: makes two commits of one new key a conflict. Without it both insert their row."""
CONFLICT_RETRIES = 10

FAILURES = (
    (
        ("os error 28", "no space left", "os error 122", "quota exceeded", "os error 27", "file too large"),
        "the disk that holds the index is full: free or add room; reads go on, and writes work again then",
    ),
    (
        (
            "os error 30",
            "read-only file system",
            "os error 13",
            "permission denied",
            "accessdenied",
            "status: 403",
        ),
        "the index cannot be written: make its place writable for the gateway's user or credentials",
    ),
    (
        ("nosuchbucket", "bucket does not exist"),
        "the index's bucket is not there: make it, or correct the setting `data`",
    ),
    (
        ("os error 5", "input/output error"),
        "the disk that holds the index fails: check it; what was acknowledged is on it",
    ),
    (
        ("file size is too small", "invalid range", "failed to fill whole buffer", "magic number", "corrupt"),
        "a file of the index is damaged or cut off: restore the store from a copy",
    ),
    (
        ("os error 24", "too many open files"),
        "the gateway may not open more files: raise its limit (ulimit -n)",
    ),
)
"""Parts of LanceDB's messages, in lower case, and what people are told then."""
REFUSALS = FAILURES[1:3]
"""Those that a wrong setting of this gateway causes."""


RUST_PLACE = re.compile(r",? /\S+\.rs:\d+:\d+")
"""Where in LanceDB's own sources an error arose."""


async def merge(table: Any, key: str, rows: pa.Table, *, replace: bool | str) -> Any:
    """Inserts rows whose keys are new and, with `replace`, replaces the others: LanceDB's MergeResult.

    `replace` may be a condition on the rows that are there (`target.`): then none is inserted.
    """
    found = table.merge_insert(key)
    if isinstance(replace, str):
        found = found.when_matched_update_all(where=replace)
    else:
        found = found.when_not_matched_insert_all()
        if replace:
            found = found.when_matched_update_all()
    # By way of an index on the key, two processes now and then both insert it in spite of PRIMARY_KEY.
    found = found.use_index(False)
    return await retrying(lambda: found.execute(rows))


async def retrying(write: Callable[[], Awaitable[Any]]) -> Any:
    """Repeats a write that another commit got in the way of."""
    attempt = 0
    while True:
        try:
            return await write()
        except Exception as error:
            attempt += 1
            if not is_conflict(error) or attempt == CONFLICT_RETRIES:
                raise
        await asyncio.sleep(random.uniform(0.01, 0.05) * 2 ** min(attempt, 6))


def is_conflict(error: Exception) -> bool:
    """Whether another commit got in the way, so that trying again may help."""
    message = str(error).lower()
    signs = ("commit conflict", "concurrent", "too much write contention", "merge operation reduced")
    return any(sign in message for sign in signs)


@asynccontextmanager
async def guarded() -> AsyncIterator[None]:
    """Errors of the engine's become StorageFailed."""
    try:
        yield
    except Exception as error:
        raise storage_failed(error) from error


def storage_failed(error: Exception) -> ClipserveError:
    """What an engine's own error means to a caller."""
    if isinstance(error, ClipserveError):
        return error
    message = str(error)
    for signs, advice in FAILURES:
        if any(sign in message.lower() for sign in signs):
            kind = StorageRefused if (signs, advice) in REFUSALS else StorageFailed
            return kind(advice, detail=RUST_PLACE.sub("", message)[:500])
    return StorageFailed("the index could not read or write", detail=RUST_PLACE.sub("", message)[:500])
