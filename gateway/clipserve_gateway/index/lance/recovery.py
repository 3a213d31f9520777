"""Recovers a local table after a power cut: its newest versions may name files that never reached the disk.

No write in these versions was acknowledged, because a write is acknowledged after its sync. They are moved
aside, not deleted. Versions up to the table's mark were synced: damage there has another cause and is never
rolled back. After a failed sync, all later versions are moved aside, even if they look complete.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index.lance.sync import HINT, VERSIONS, sync_path, version_of
from clipserve_gateway.index.lance.sync_mark import Mark, change_mark, read_mark

log = logging.getLogger(__name__)

DAMAGED = "_damaged"
"""Subfolder of a table for manifests that were moved aside."""
DATA_END, ARROW_END = b"LANC", b"ARROW1"
"""Last bytes of a complete file."""


def recover(folder: Path) -> int:
    """Moves incomplete versions aside, and returns the newest version that stays; 0 if there is none.

    Raises StorageFailed if a synced version is damaged.
    """
    if read_mark(folder).failed:
        forget_unsynced(folder)
    checked: set[int] = set()
    while True:
        versions = versions_of(folder)
        newest = max(versions, default=0)
        remove_wrong_hint(folder / VERSIONS / HINT, newest)
        if not newest or newest in checked:
            return newest
        checked.add(newest)
        problem = damage(folder, newest)
        if not problem:
            return newest
        if max(map(version_of, os.listdir(folder / VERSIONS)), default=0) != newest:
            # Another process committed meanwhile, and may have removed files of this version.
            continue
        if newest <= read_mark(folder).version:
            raise StorageFailed(
                f"version {newest} of {folder.name} is damaged ({problem}): restore the store from a backup"
            )
        move_aside(folder, [versions[newest]])
        log.error(
            "version %d of %s is incomplete (%s), as after a power cut. No write in it was acknowledged: it "
            "was moved to %s, and the table continues from the previous version",
            newest,
            folder.name,
            problem,
            DAMAGED,
        )


def versions_of(folder: Path) -> dict[int, str]:
    """The versions that have a manifest, with the manifest's name."""
    names = sorted(os.listdir(folder / VERSIONS)) if (folder / VERSIONS).is_dir() else []
    return {version_of(name): name for name in names if version_of(name)}


def move_aside(folder: Path, manifests: Iterable[str]) -> None:
    """Removes versions from the table by moving their manifests."""
    (folder / DAMAGED).mkdir(exist_ok=True)
    for name in manifests:
        os.replace(folder / VERSIONS / name, folder / DAMAGED / name)
    (folder / VERSIONS / HINT).unlink(missing_ok=True)
    sync_path(folder / VERSIONS)


def forget_unsynced(folder: Path) -> None:
    """After a failed sync, goes back to the last version that is certainly on the disk."""
    with change_mark(folder) as change:
        mark = change.read()
        # Another process may have done it meanwhile.
        if not mark.failed:
            return
        later = {version: name for version, name in versions_of(folder).items() if version > mark.version}
        move_aside(folder, later.values())
        change.write(Mark(mark.version))
        change.sync()
    log.error(
        "a sync of %s failed earlier: %d versions after version %d may not be on the disk. No write in them "
        "was acknowledged: they were moved to %s, and the table continues from that version",
        folder.name,
        len(later),
        mark.version,
        DAMAGED,
    )


def remove_wrong_hint(path: Path, newest: int) -> None:
    """Removes Lance's hint of the newest version if it names a later version or is not readable."""
    try:
        right = json.loads(path.read_bytes())["version"] <= newest
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError):
        right = False
    if not right:
        path.unlink(missing_ok=True)


def damage(folder: Path, version: int) -> str:
    """What is wrong with a version; empty if it is complete."""
    import lance

    try:
        dataset = lance.dataset(str(folder), version=version)
        for fragment in dataset.get_fragments():
            for file in fragment.metadata.files:
                if problem := damage_of(folder / "data" / file.path, DATA_END, file.file_size_bytes):
                    return problem
            deletion = fragment.deletion_file()
            if deletion is not None:
                if problem := damage_of(folder / deletion, ARROW_END if deletion.endswith("arrow") else b""):
                    return problem
                # Reads the deletion file.
                fragment.to_table(columns=[], with_row_id=True, limit=1)
        for index in dataset.describe_indices():
            for segment in index.segments:
                if problem := damage_of_index(folder / "_indices" / str(segment.uuid)):
                    return problem
    except BaseException as error:
        # On an empty manifest, Lance panics; PanicException is not a subclass of Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return str(error)[:200]
    return ""


def damage_of(path: Path, end: bytes, size: int | None = None) -> str:
    """What is wrong with a file; empty if its size and its last bytes are right."""
    try:
        length = path.stat().st_size
        with open(path, "rb") as file:
            file.seek(max(0, length - len(end)))
            whole = length > 0 and file.read() == end if end else length > 0
    except FileNotFoundError:
        return f"{path.name} is missing"
    if not whole or (size and size != length):
        return f"{path.name} is truncated"
    return ""


def damage_of_index(folder: Path) -> str:
    """What is wrong with the files of an index; empty if they are complete."""
    files: list[Any] = list(folder.iterdir()) if folder.is_dir() else []
    if not files:
        return f"index {folder.name} is missing"
    return next((problem for file in files if (problem := damage_of(file, DATA_END))), "")
