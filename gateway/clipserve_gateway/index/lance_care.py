"""What a Lance table needs to stay fast and small: blocking functions, for a thread.

LanceDB's own `optimize` adds an index segment each time and never merges them, so that searches slow down
for ever, and rewrites a table of large rows whole; Lance itself lets us choose. Both costs are kept in
proportion: what is merged is never much larger than what is new.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

from clipserve_gateway.index.lance_indexes import Index

KEEP_VERSIONS = dt.timedelta(minutes=10)
"""Old versions stay for readers that are still at them."""
FILE_BYTES = 256 << 20
"""Files of this size are not merged further."""
BATCH_BYTES = 16 << 20
"""What merging files holds in memory at a time, about, for each of a few threads."""
DELETED = 0.1
"""A file of whose rows more than this part are deleted is written anew without them."""
UNINDEXED_ROWS = 500
"""So few rows are compared with one by one faster than by a graph of their own."""
SMALL_SEGMENT_ROWS = 2000
"""Graphs of so few points are merged whenever more come: that takes less than a second."""
SCALAR_UNINDEXED = 0.05
"""Indexes of other columns are written anew whole, so only when this part of the rows is not in them."""


def open_dataset(uri: str, storage_options: dict[str, str] | None) -> Any:
    """The table at its newest version; what is done on it sees no later one."""
    import lance

    return lance.dataset(uri, storage_options=storage_options)


def fragment_ids(dataset: Any) -> set[int]:
    """Of the files of this version."""
    return {fragment.fragment_id for fragment in dataset.get_fragments()}


def merge_files(dataset: Any, untouched: Collection[int] = ()) -> int:
    """Merges small files and drops deleted rows; how many files were replaced."""
    fragments = dataset.get_fragments()
    rows = {it.fragment_id: it.physical_rows for it in fragments}
    if not rows:
        return 0
    row_bytes = max(1, max(bytes_per_row(it) for it in fragments))
    target = max(1, min(FILE_BYTES // row_bytes, 1 << 20))
    worn = {it.fragment_id for it in fragments if it.num_deletions > DELETED * it.physical_rows}
    candidates = {id: count for id, count in rows.items() if count < target and id not in untouched}
    new = newest_portion(sorted(candidates.values(), reverse=True))
    settled = sorted(candidates, key=lambda id: -candidates[id])[: len(candidates) - new]
    left = (set(untouched) | set(settled)) - (worn - set(untouched))
    metrics = dataset.optimize.compact_files(
        target_rows_per_fragment=target,
        batch_size=max(1, min(BATCH_BYTES // row_bytes, 8192)),
        materialize_deletions_threshold=DELETED,
        excluded_fragment_ids=sorted(left),
    )
    return int(metrics.fragments_removed)


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
    dataset.cleanup_old_versions(older_than=KEEP_VERSIONS)


def index(dataset: Any, wanted: Sequence[Index], *, all_rows: bool = False) -> bool:
    """Makes the indexes that are due and brings the others up to date; whether anything was done.

    With `all_rows` no row is left out of an index, however few they are.
    """
    rows = dataset.count_rows()
    there = {it.field_names[0]: it for it in dataset.describe_indices()}
    done = False
    for it in wanted:
        if it.column not in there:
            if rows >= it.from_rows:
                it.create(dataset)
                done = True
            continue
        left = rows - there[it.column].num_rows_indexed
        least = UNINDEXED_ROWS if it.is_vector else max(UNINDEXED_ROWS, SCALAR_UNINDEXED * rows)
        if left >= (1 if all_rows else least):
            segments = segment_rows(dataset, there[it.column]) if it.is_vector else [0]
            merged = newest_portion([*segments, left], SMALL_SEGMENT_ROWS) - 1
            dataset.optimize.optimize_indices(
                num_indices_to_merge=merged if it.is_vector else 1, index_names=[there[it.column].name]
            )
            done = True
    return done


def segment_rows(dataset: Any, description: Any) -> list[int]:
    """Rows in each segment of an index, in the order in which segments are merged from the end."""
    rows = {it.fragment_id: it.physical_rows for it in dataset.get_fragments()}
    return [sum(rows.get(id, 0) for id in segment.fragment_ids) for segment in description.segments]
