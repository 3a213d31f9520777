"""Writes that are repeated where another one got in the way, and what their failures mean."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pyarrow as pa

from clipserve_gateway.errors import ClipserveError, StorageFailed

PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
"""Of a column: makes two commits of one new key a conflict. Without it both insert their row."""
CONFLICT_RETRIES = 8


async def merge(table: Any, key: str, rows: pa.Table, *, replace: bool) -> int:
    """Inserts rows whose keys are new and, with `replace`, replaces the others; how many were inserted."""
    found = table.merge_insert(key).when_not_matched_insert_all()
    if replace:
        found = found.when_matched_update_all()
    # By way of an index on the key, two processes now and then both insert it in spite of PRIMARY_KEY.
    found = found.use_index(False)
    result = await retrying(lambda: found.execute(rows))
    return int(result.num_inserted_rows)


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
        await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)


def is_conflict(error: Exception) -> bool:
    """Whether another commit got in the way, so that trying again may help."""
    return "commit conflict" in str(error).lower() or "concurrent" in str(error).lower()


def storage_failed(error: Exception) -> ClipserveError:
    """What an engine's own error means to a caller."""
    if isinstance(error, ClipserveError):
        return error
    return StorageFailed(f"the index could not read or write: {str(error)[:200]}")
