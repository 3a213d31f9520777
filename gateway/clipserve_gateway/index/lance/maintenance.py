"""Keeps a Lance table fast and small: merges files, updates indexes, removes old versions.

All functions here block and run in threads. LanceDB's own `optimize` is not used: it adds an index segment
each time and never merges them, so searches slow down steadily, and it rewrites a table of large rows whole.
The functions here merge in proportion: old data that is merged is never much larger than the new data.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

from clipserve_gateway.index.lance.indexes import Index

KEEP_VERSIONS = dt.timedelta(minutes=2)
"""Old versions stay this long, because readers may still use them. More versions make every read slower."""
FILE_BYTES = 256 << 20
"""Files of at least this size are not merged."""
BATCH_BYTES = 16 << 20
"""Approximate memory of each of the few threads that merge files."""
DELETED = 0.2
"""A file is rewritten once more than this share of its rows is deleted."""
UNINDEXED_ROWS = 1000
"""Up to this many rows, comparing with each row is faster than another graph."""
SMALL_SEGMENT_ROWS = 5000
"""Graphs of at most this many points are merged whenever more come: that takes about a second."""
SCALAR_UNINDEXED = 0.05
"""Indexes of other columns are rewritten whole, so only when they lack this share of the rows."""


def open_dataset(uri: str, storage_options: dict[str, str] | None) -> Any:
    """The table at its newest version. The dataset stays at that version when others commit."""
    import lance

    return lance.dataset(uri, storage_options=storage_options)


async def open_newest(table: Any) -> Any:
    """The dataset of a LanceDB table, at its newest version."""
    uri, options = await table.uri(), await table.latest_storage_options()
    return await asyncio.to_thread(open_dataset, uri, options)


async def add_schema_metadata(table: Any, key: bytes, value: bytes) -> None:
    """Adds an entry to the metadata of a table's schema."""
    dataset = await open_newest(table)
    await asyncio.to_thread(dataset.update_schema_metadata, {key.decode(): value.decode()})


def fragment_ids(dataset: Any) -> set[int]:
    """Ids of the data files of this version."""
    return {fragment.fragment_id for fragment in dataset.get_fragments()}


def merge_files(dataset: Any, excluded: Collection[int] = ()) -> None:
    """Merges the newest small files, with as many of the older ones as `newest_portion` allows."""
    files = {fragment.fragment_id: fragment.physical_rows for fragment in dataset.get_fragments()}
    small = {id: rows for id, rows in files.items() if rows < rows_per_file(dataset) and id not in excluded}
    by_size = sorted(small, key=lambda id: -small[id])
    chosen = by_size[len(small) - newest_portion([small[id] for id in by_size]) :]
    if len(chosen) > 1:
        rewrite(dataset, set(files) - set(chosen))


def worn_files(dataset: Any) -> set[int]:
    """Files that hold many deleted rows, which take space and slow searches down."""
    return {
        fragment.fragment_id
        for fragment in dataset.get_fragments()
        if fragment.num_deletions > DELETED * fragment.physical_rows
    }


def renew_files(dataset: Any, excluded: Collection[int] = ()) -> None:
    """Rewrites worn files, and the indexes that hold their rows, which takes longer."""
    if chosen := worn_files(dataset) - set(excluded):
        rewrite(dataset, fragment_ids(dataset) - chosen)


def rewrite(dataset: Any, others: Collection[int], deleted: float = DELETED) -> None:
    """Merges all files except the `others` into new ones.

    Drops the deleted rows of a file of which more than the share `deleted` is deleted.
    """
    rows = rows_per_file(dataset)
    dataset.optimize.compact_files(
        target_rows_per_fragment=rows,
        batch_size=max(1, min(rows * BATCH_BYTES // FILE_BYTES, 8192)),
        materialize_deletions_threshold=deleted,
        excluded_fragment_ids=sorted(others),
    )


def rows_per_file(dataset: Any) -> int:
    """How many of the table's largest rows a file of FILE_BYTES holds."""
    row_bytes = max((bytes_per_row(fragment) for fragment in dataset.get_fragments()), default=0)
    return max(1, min(FILE_BYTES // max(1, row_bytes), 1 << 20))


def bytes_per_row(fragment: Any) -> int:
    """Average bytes of a row on disk; 0 where the file's size is not known."""
    sizes = [file.file_size_bytes or 0 for file in fragment.metadata.files]
    return int(sum(sizes) // max(1, fragment.physical_rows))


def newest_portion(sizes: Sequence[int], least: int = 0) -> int:
    """How many of the last sizes to merge.

    Counts from the end, as long as a size is at most the sum of those after it (or `least`). So every size
    that stays is larger than all that follow together: the number of files, and how often a row is merged,
    grow with the logarithm of the sum.
    """
    total = count = 0
    for size in reversed(sizes):
        if count and size > max(total, least):
            break
        total += size
        count += 1
    return count


def drop_old_versions(dataset: Any, keep: dt.timedelta) -> None:
    """Removes versions older than `keep` that no tag pins, and the files that only they use."""
    dataset.cleanup_old_versions(older_than=keep, error_if_tagged_old_versions=False)


def update_index(dataset: Any, index: Index, *, all_rows: bool = False) -> None:
    """Creates an index if the table has enough rows for it, or brings it up to date.

    With `all_rows` the index gets every row, however few it lacks.
    """
    rows = dataset.count_rows()
    existing = next((each for each in dataset.describe_indices() if each.field_names == [index.column]), None)
    if existing is None:
        if rows >= index.from_rows:
            index.create(dataset)
        return
    missing = rows - existing.num_rows_indexed
    least = UNINDEXED_ROWS if index.is_vector else max(UNINDEXED_ROWS, SCALAR_UNINDEXED * rows)
    if missing < (1 if all_rows else least):
        return
    merged = 1
    if index.is_vector:
        merged = newest_portion([*segment_rows(dataset, existing), missing], SMALL_SEGMENT_ROWS) - 1
    dataset.optimize.optimize_indices(num_indices_to_merge=merged, index_names=[existing.name])


def segment_rows(dataset: Any, description: Any) -> list[int]:
    """Rows of each segment of an index, oldest first: merging begins with the last."""
    rows = {fragment.fragment_id: fragment.physical_rows for fragment in dataset.get_fragments()}
    return [sum(rows.get(id, 0) for id in segment.fragment_ids) for segment in description.segments]
