"""What a Lance table needs to stay fast and small: blocking functions, for a thread.

LanceDB's own `optimize` adds an index segment each time and never merges them, so that searches slow down
for ever, and rewrites a table of large rows whole; Lance itself lets us choose. Both costs are kept in
proportion: what is merged is never much larger than what is new.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

from clipserve_gateway.index.lance.indexes import Index

KEEP_VERSIONS = dt.timedelta(minutes=2)
"""Old versions stay for readers that are still at them; every read is slower the more there are."""
FILE_BYTES = 256 << 20
"""Files of this size are not merged further."""
BATCH_BYTES = 16 << 20
"""What merging files holds in memory at a time, about, for each of a few threads."""
DELETED = 0.2
"""A file is worn where more than this part of its rows is deleted."""
UNINDEXED_ROWS = 1000
"""So few rows are compared with one by one faster than by a graph of their own."""
SMALL_SEGMENT_ROWS = 5000
"""Graphs of so few points are merged whenever more come: that takes about a second."""
SCALAR_UNINDEXED = 0.05
"""Indexes of other columns are written anew whole, so only when this part of the rows is not in them."""


def open_dataset(uri: str, storage_options: dict[str, str] | None) -> Any:
    """The table at its newest version; what is done on it sees no later one."""
    import lance

    return lance.dataset(uri, storage_options=storage_options)


async def add_schema_metadata(table: Any, key: bytes, value: bytes) -> None:
    """Adds an entry to the metadata of a table's schema."""
    uri, options = await table.uri(), await table.latest_storage_options()
    dataset = await asyncio.to_thread(open_dataset, uri, options)
    await asyncio.to_thread(dataset.update_schema_metadata, {key.decode(): value.decode()})


def fragment_ids(dataset: Any) -> set[int]:
    """Of the files of this version."""
    return {fragment.fragment_id for fragment in dataset.get_fragments()}


def merge_files(dataset: Any, untouched: Collection[int] = ()) -> None:
    """Merges the small files that came last, with as many before them as are no larger."""
    files = {it.fragment_id: it.physical_rows for it in dataset.get_fragments()}
    small = {id: rows for id, rows in files.items() if rows < rows_per_file(dataset) and id not in untouched}
    by_size = sorted(small, key=lambda id: -small[id])
    chosen = by_size[len(small) - newest_portion([small[id] for id in by_size]) :]
    if len(chosen) > 1:
        rewrite(dataset, set(files) - set(chosen))


def worn_files(dataset: Any) -> set[int]:
    """Files that hold many deleted rows: they take room, and searches look at them in vain."""
    return {it.fragment_id for it in dataset.get_fragments() if it.num_deletions > DELETED * it.physical_rows}


def renew_files(dataset: Any, untouched: Collection[int] = ()) -> None:
    """Writes worn files anew; indexes that hold their rows are written anew as well, which takes longer."""
    files = {it.fragment_id for it in dataset.get_fragments()}
    if chosen := worn_files(dataset) - set(untouched):
        rewrite(dataset, files - chosen)


def rewrite(dataset: Any, others: Collection[int], deleted: float = DELETED) -> None:
    """Writes all files but the `others` anew, merged; those without deleted rows where more than the part
    `deleted` of their rows is deleted."""
    rows = rows_per_file(dataset)
    dataset.optimize.compact_files(
        target_rows_per_fragment=rows,
        batch_size=max(1, min(rows * BATCH_BYTES // FILE_BYTES, 8192)),
        materialize_deletions_threshold=deleted,
        excluded_fragment_ids=sorted(others),
    )


def rows_per_file(dataset: Any) -> int:
    """How many rows a file of FILE_BYTES holds, by the largest rows that there are."""
    row_bytes = max((bytes_per_row(it) for it in dataset.get_fragments()), default=0)
    return max(1, min(FILE_BYTES // max(1, row_bytes), 1 << 20))


def bytes_per_row(fragment: Any) -> int:
    """Of a file on disk; 0 where its size is not known."""
    sizes = [file.file_size_bytes or 0 for file in fragment.metadata.files]
    return int(sum(sizes) // max(1, fragment.physical_rows))


def newest_portion(sizes: Sequence[int], least: int = 0) -> int:
    """How many of the last sizes to merge: each that is no larger than those after it together (or `least`).

    So each that stays is larger than all that follow: their number grows with the logarithm of the sum, and
    no row is merged more often than that.
    """
    total = count = 0
    for size in reversed(sizes):
        if count and size > max(total, least):
            break
        total += size
        count += 1
    return count


def drop_old_versions(dataset: Any) -> None:
    """Removes versions that no reader is at any more, and the files that only they had."""
    dataset.cleanup_old_versions(older_than=KEEP_VERSIONS, error_if_tagged_old_versions=False)


def index(dataset: Any, wanted: Index, *, all_rows: bool = False) -> None:
    """Makes an index if it is due, or brings it up to date.

    With `all_rows` no row is left out of it, however few they are.
    """
    rows = dataset.count_rows()
    there = [it for it in dataset.describe_indices() if it.field_names == [wanted.column]]
    if not there:
        if rows >= wanted.from_rows:
            wanted.create(dataset)
        return
    left = rows - there[0].num_rows_indexed
    least = UNINDEXED_ROWS if wanted.is_vector else max(UNINDEXED_ROWS, SCALAR_UNINDEXED * rows)
    if left < (1 if all_rows else least):
        return
    merged = 1
    if wanted.is_vector:
        merged = newest_portion([*segment_rows(dataset, there[0]), left], SMALL_SEGMENT_ROWS) - 1
    dataset.optimize.optimize_indices(num_indices_to_merge=merged, index_names=[there[0].name])


def segment_rows(dataset: Any, description: Any) -> list[int]:
    """Rows in each segment of an index, in the order in which segments are merged from the end."""
    rows = {it.fragment_id: it.physical_rows for it in dataset.get_fragments()}
    return [sum(rows.get(id, 0) for id in segment.fragment_ids) for segment in description.segments]
