"""Removes deleted rows from a table's files. All functions here block and run in threads.

Lance marks rows as deleted and keeps their bytes: in data files, in indexes, in old versions, in the
conditions of deletions, and in files of writes that lost a race and were written again.
"""

from __future__ import annotations

import datetime as dt
import importlib
from typing import Any

from clipserve_gateway.index.lance.commits import is_conflict
from clipserve_gateway.index.lance.maintenance import fragment_ids, rewrite

MOST_FILES = 10_000
"""Most leftover files that one run removes."""
ATTEMPTS = 5
SUPERSEDE_ATTEMPTS = 50


def holds_deleted_rows(dataset: Any) -> bool:
    """Whether the newest version holds any bytes of deleted rows."""
    worn = any(deletions(dataset).values())
    return worn or bool(stale_indexes(dataset)) or ends_with_deletion(dataset)


def rewrite_without_deleted(dataset: Any) -> None:
    """Commits a version whose data files and indexes hold no deleted rows."""
    if any(deletions(dataset).values()):
        rewrite_list_indexes(dataset)
        others = [id for id, deleted in deletions(dataset).items() if not deleted]
        rewrite(dataset, others, deleted=0.0)
        dataset.checkout_latest()
    for description in stale_indexes(dataset):
        rewrite_index(dataset, description)
        dataset.checkout_latest()
    if ends_with_deletion(dataset):
        supersede(dataset)
        dataset.checkout_latest()


def deletions(dataset: Any) -> dict[int, int]:
    """Number of deleted rows of each data file, by the file's id."""
    return {fragment.fragment_id: fragment.num_deletions for fragment in dataset.get_fragments()}


def rewrite_list_indexes(dataset: Any) -> None:
    """Rewrites those indexes of list fields that hold deleted rows.

    Merging files removes deleted rows from all other indexes. Indexes of lists keep their values, so they
    are rewritten before, and once more if rows were deleted meanwhile.
    """
    for _ in range(ATTEMPTS):
        before = deletions(dataset)
        worn = {id for id, deleted in before.items() if deleted}
        for description in dataset.describe_indices():
            if kind_of(description) == "LABELLIST" and worn & covered_by(description):
                rewrite_index(dataset, description)
        dataset.checkout_latest()
        if deletions(dataset) == before:
            return
    # `is_conflict` recognizes the word: writers then wait while this is repeated.
    raise RuntimeError("concurrent deletions keep the indexes of lists from being rewritten")


def kind_of(description: Any) -> str:
    """The kind of an index in capital letters, without underscores."""
    return str(description.index_type).upper().replace("_", "")


def covered_by(description: Any) -> set[int]:
    """Ids of the data files that an index was built from, removed ones included."""
    return {id for segment in description.segments for id in segment.fragment_ids}


def ends_with_deletion(dataset: Any) -> bool:
    """Whether the newest version is a deletion: it stores the condition, with ids or values in it."""
    try:
        transaction = dataset.read_transaction(dataset.version)
    except TypeError:
        # pylance cannot read the transaction of merging files, which is not a deletion.
        return False
    return type(getattr(transaction, "operation", None)).__name__ == "Delete"


def stale_indexes(dataset: Any) -> list[Any]:
    """Indexes that hold rows of removed files."""
    files = fragment_ids(dataset)
    suspects = [index for index in dataset.describe_indices() if covered_by(index) - files]
    return [index for index in suspects if not is_vector(index) or has_removed_rows(dataset, index)]


def is_vector(description: Any) -> bool:
    """Whether this is the index of the embeddings."""
    return bool(description.field_names == ["embedding"])


def has_removed_rows(dataset: Any, description: Any) -> bool:
    """Whether a vector index has removed rows. Its list of files does not tell, because that only grows."""
    reader = importlib.import_module("lance.file").LanceFileReader
    options = dataset.latest_storage_options()
    rows = 0
    for segment in description.segments:
        path = f"{dataset.uri}/_indices/{segment.uuid}/auxiliary.idx"
        rows += reader(path, storage_options=options).metadata().num_rows
    return bool(rows > description.num_rows_indexed)


def rewrite_index(dataset: Any, description: Any) -> None:
    """Rewrites an index with the rows of the newest version; drops it if it has none."""
    [column], name = description.field_names, description.name
    if not description.num_rows_indexed:
        dataset.drop_index(name)
    elif is_vector(description):
        count = len(description.segments)
        dataset.optimize.optimize_indices(num_indices_to_merge=count, index_names=[name])
    else:
        kind = {"BTREE": "BTREE", "BITMAP": "BITMAP", "LABELLIST": "LABEL_LIST"}
        dataset.create_scalar_index(column, kind[kind_of(description)], name=name, replace=True)


def supersede(dataset: Any) -> None:
    """Commits a version with the same rows as the newest.

    Every write that began before this commit fails and is written again, to other files. If another commit
    comes first, this one is repeated on top of it.
    """
    for attempt in range(SUPERSEDE_ATTEMPTS):
        dataset.checkout_latest()
        try:
            commit_same(dataset)
            return
        except OSError as error:
            if not is_conflict(error) or attempt == SUPERSEDE_ATTEMPTS - 1:
                raise


def commit_same(dataset: Any) -> None:
    """Commits a version with the same rows. Raises OSError if another commit came first."""
    lance = importlib.import_module("lance")
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    same = lance.LanceOperation.Merge(fragments, dataset.lance_schema)
    options = dataset.latest_storage_options()
    lance.LanceDataset.commit(dataset.uri, same, read_version=dataset.version, storage_options=options)


def leftovers(dataset: Any) -> set[str]:
    """Files that no version names: of writes in progress, and of writes that failed or were repeated."""
    explained = dataset.explain_cleanup_old_versions(
        older_than=dt.timedelta(days=36_500),
        delete_unverified=True,
        error_if_tagged_old_versions=False,
        include_files=True,
        max_files=MOST_FILES,
    )
    top = dataset.uri.rstrip("/").rsplit("/", 1)[1] + "/"
    return {file.path.split(top, 1)[1] for file in explained.candidate_files if file.unverified}


def drop_leftovers(dataset: Any) -> int:
    """Removes files of failed writes and returns their number. Writes in progress have to start again."""
    before = leftovers(dataset)
    if not before:
        return 0
    supersede(dataset)
    dataset.checkout_latest()
    # Writes that began before are committed by now, or never will be.
    unused = before & leftovers(dataset)
    session = dataset.new_file_session()
    for path in unused:
        remove(session, path)
    return len(unused)


def remove(session: Any, path: str) -> None:
    """Removes a file. It is no error that the writer of it, or another process, removed it first."""
    try:
        session.delete_file(path)
    except OSError:
        if session.contains(path):
            raise
