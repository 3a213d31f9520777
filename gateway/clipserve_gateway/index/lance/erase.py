"""Takes deleted rows out of a table's files: blocking functions, for a thread.

Lance marks rows as deleted and keeps their bytes: in data files, in indexes, in old versions, in the
conditions by which they were deleted, and in files of writes that lost a race and were written again.
"""

from __future__ import annotations

import datetime as dt
import importlib
from typing import Any

from clipserve_gateway.index.lance import maintenance as lance_care
from clipserve_gateway.index.lance.commits import is_conflict

MOST_FILES = 10_000
"""Leftover files that are removed in one go."""
ATTEMPTS = 5
SUPERSEDE_ATTEMPTS = 50


def is_due(dataset: Any) -> bool:
    """Whether the newest version holds anything of deleted rows."""
    worn = any(deletions(dataset).values())
    return worn or bool(stale_indexes(dataset)) or ends_with_deletion(dataset)


def renew(dataset: Any) -> None:
    """Writes a version whose data files and indexes hold no deleted row."""
    if any(deletions(dataset).values()):
        renew_lists(dataset)
        others = [id for id, deleted in deletions(dataset).items() if not deleted]
        lance_care.rewrite(dataset, others, deleted=0.0)
        dataset.checkout_latest()
    for description in stale_indexes(dataset):
        renew_index(dataset, description)
        dataset.checkout_latest()
    if ends_with_deletion(dataset):
        supersede(dataset)
        dataset.checkout_latest()


def deletions(dataset: Any) -> dict[int, int]:
    """Deleted rows of each data file."""
    return {fragment.fragment_id: fragment.num_deletions for fragment in dataset.get_fragments()}


def renew_lists(dataset: Any) -> None:
    """Writes the indexes of lists anew that hold deleted rows.

    Merging files takes such rows out of the other indexes, and leaves the values of these. So they come
    first, and again where rows were deleted meanwhile.
    """
    for _ in range(ATTEMPTS):
        before = deletions(dataset)
        worn = {id for id, deleted in before.items() if deleted}
        for description in dataset.describe_indices():
            if kind_of(description) == "LABELLIST" and worn & covered_by(description):
                renew_index(dataset, description)
        dataset.checkout_latest()
        if deletions(dataset) == before:
            return
    raise RuntimeError("concurrent deletions keep the indexes of lists from being written anew")


def kind_of(description: Any) -> str:
    """The kind of an index, in capital letters."""
    return str(description.index_type).upper().replace("_", "")


def covered_by(description: Any) -> set[int]:
    """Data files that an index was made of, those that are gone as well."""
    return {id for segment in description.segments for id in segment.fragment_ids}


def ends_with_deletion(dataset: Any) -> bool:
    """Whether the newest version keeps the condition of a deletion, with the ids or values in it."""
    try:
        transaction = dataset.read_transaction(dataset.version)
    except TypeError:
        # pylance cannot read back what merging files committed; that is no deletion.
        return False
    return type(getattr(transaction, "operation", None)).__name__ == "Delete"


def stale_indexes(dataset: Any) -> list[Any]:
    """Indexes that hold rows of files that are gone."""
    there = lance_care.fragment_ids(dataset)
    suspects = [it for it in dataset.describe_indices() if covered_by(it) - there]
    return [it for it in suspects if not is_vector(it) or holds_dead_rows(dataset, it)]


def is_vector(description: Any) -> bool:
    """Whether an index is one of embeddings."""
    return bool(description.field_names == ["embedding"])


def holds_dead_rows(dataset: Any, description: Any) -> bool:
    """Whether a vector index has rows that are gone. Its list of files cannot tell: that only grows."""
    reader = importlib.import_module("lance.file").LanceFileReader
    options = dataset.latest_storage_options()
    rows = 0
    for segment in description.segments:
        path = f"{dataset.uri}/_indices/{segment.uuid}/auxiliary.idx"
        rows += reader(path, storage_options=options).metadata().num_rows
    return bool(rows > description.num_rows_indexed)


def renew_index(dataset: Any, description: Any) -> None:
    """Writes an index anew with the rows that are there; one that has none goes, until it is due again."""
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

    Every write that began before it fails and is written again, to other files. It fails itself where
    another commit comes first, and is then tried on top of that.
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
    """Commits a version with the same rows; raises OSError where another one came first."""
    lance = importlib.import_module("lance")
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    same = lance.LanceOperation.Merge(fragments, dataset.lance_schema)
    options = dataset.latest_storage_options()
    lance.LanceDataset.commit(dataset.uri, same, read_version=dataset.version, storage_options=options)


def drop_old_versions(dataset: Any, keep: dt.timedelta) -> None:
    """Removes versions older than `keep` that no tag pins, and files that only they had."""
    dataset.cleanup_old_versions(older_than=keep, error_if_tagged_old_versions=False)


def leftovers(dataset: Any) -> set[str]:
    """Files that no version names: of writes under way, and of those that failed or were written again."""
    explained = dataset.explain_cleanup_old_versions(
        older_than=dt.timedelta(days=36_500),
        delete_unverified=True,
        error_if_tagged_old_versions=False,
        include_files=True,
        max_files=MOST_FILES,
    )
    top = dataset.uri.rstrip("/").rsplit("/", 1)[1] + "/"
    return {it.path.split(top, 1)[1] for it in explained.candidate_files if it.unverified}


def drop_leftovers(dataset: Any) -> int:
    """Removes files of writes that failed; how many. Writes under way are made to begin again."""
    before = leftovers(dataset)
    if not before:
        return 0
    supersede(dataset)
    dataset.checkout_latest()
    # A write that began before was committed by now, or never will be.
    gone = before & leftovers(dataset)
    session = dataset.new_file_session()
    for path in gone:
        session.delete_file(path)
    return len(gone)
