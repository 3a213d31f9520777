"""Repeats writes after conflicts, and translates LanceDB's errors."""

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
"""Metadata of a column: two commits that insert the same key conflict. Without it, both insert a row."""
CONFLICT_RETRIES = 10

FAILURES = (
    (
        ("os error 28", "no space left", "os error 122", "quota exceeded", "os error 27", "file too large"),
        "the disk that holds the store is full: free or add space; reads still work, and writes work again "
        "once there is space",
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
        "the store is not writable: give the gateway's user or credentials write access to it",
    ),
    (
        ("nosuchbucket", "bucket does not exist"),
        "the store's bucket does not exist: create it, or correct the setting `data`",
    ),
    (
        ("os error 5", "input/output error"),
        "the disk that holds the store has I/O errors: check it; writes that were answered with OK are on it",
    ),
    (
        ("file size is too small", "invalid range", "failed to fill whole buffer", "magic number", "corrupt"),
        "a file of the store is damaged or truncated: restore the store from a backup",
    ),
    (
        ("os error 24", "too many open files"),
        "the gateway may not open more files: raise its limit (ulimit -n)",
    ),
)
"""Parts of LanceDB's messages in lower case, and the message for callers."""
REFUSALS = FAILURES[1:3]
"""Failures caused by a wrong setting of this gateway."""

RUST_PLACE = re.compile(r",? /\S+\.rs:\d+:\d+")
"""A place in LanceDB's sources, which its messages name."""


async def merge(table: Any, key: str, rows: pa.Table, *, replace: bool | str) -> Any:
    """Inserts rows with new keys and, with `replace`, replaces the others. Returns LanceDB's MergeResult.

    `replace` may be a condition on the stored rows (`target.`): then no row is inserted.
    """
    statement = table.merge_insert(key)
    if isinstance(replace, str):
        statement = statement.when_matched_update_all(where=replace)
    else:
        statement = statement.when_not_matched_insert_all()
        if replace:
            statement = statement.when_matched_update_all()
    # With an index on the key, two processes sometimes both insert it in spite of PRIMARY_KEY.
    statement = statement.use_index(False)
    return await retrying(lambda: statement.execute(rows))


async def retrying(write: Callable[[], Awaitable[Any]]) -> Any:
    """Repeats a write as long as other commits conflict with it, at most CONFLICT_RETRIES times."""
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
    """Whether another commit came in between, so that a repetition may succeed."""
    message = str(error).lower()
    signs = ("commit conflict", "concurrent", "too much write contention", "merge operation reduced")
    return any(sign in message for sign in signs)


@asynccontextmanager
async def guarded() -> AsyncIterator[None]:
    """Translates the engine's errors as `storage_failed` does."""
    try:
        yield
    except Exception as error:
        raise storage_failed(error) from error


def storage_failed(error: Exception) -> ClipserveError:
    """The error for callers: StorageRefused for wrong settings, StorageFailed for all else."""
    if isinstance(error, ClipserveError):
        return error
    message = str(error)
    for signs, advice in FAILURES:
        if any(sign in message.lower() for sign in signs):
            kind = StorageRefused if (signs, advice) in REFUSALS else StorageFailed
            return kind(advice, detail=RUST_PLACE.sub("", message)[:500])
    return StorageFailed("the store could not read or write", detail=RUST_PLACE.sub("", message)[:500])
