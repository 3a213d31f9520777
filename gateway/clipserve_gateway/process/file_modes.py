"""Who else on this machine may read what belongs to the gateway, or write what it runs."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

log = logging.getLogger(__name__)

PRIVATE = 0o077
"""The umask of a gateway: what it creates is for its own user alone, folders 0700 and files 0600."""
GROUP, OTHERS = 0o070, 0o007


def create_private_files() -> None:
    """From now on, this process and its children create files and folders for their user alone."""
    os.umask(os.umask(PRIVATE) | PRIVATE)


def others_reach(path: str | Path) -> str:
    """The mode of what other users may use, such as 0644; empty if none may, or there is nothing.

    A group counts only where the file is this user's own: mounted secrets and volumes of Kubernetes belong to
    root and to a group of the pod's.
    """
    try:
        facts = os.stat(path)
    except OSError:
        return ""
    shared = facts.st_mode & OTHERS or (facts.st_mode & GROUP and facts.st_uid == os.geteuid())
    return f"{stat.S_IMODE(facts.st_mode):04o}" if shared else ""


def warn_of_secrets(files: Iterable[tuple[str, str]]) -> None:
    """Tells which files of secrets others may read; each comes with the setting that names it."""
    for setting, path in files:
        if path and (mode := others_reach(path)):
            log.warning(
                "%s: other users of this machine may read %s (mode %s); `chmod go= %s` ends that, or for a "
                "Secret of Kubernetes its defaultMode",
                *(setting, path, mode, path),
            )


def warn_of_folder(folder: Path) -> None:
    """Tells that others may read what is stored, where they may enter its folder."""
    if mode := others_reach(folder):
        log.warning(
            "data: other users of this machine may read the folder %s (mode %s); `chmod -R go= %s` ends that",
            *(folder, mode, folder),
        )


def writable_by_others(folder: Path) -> str:
    """Why other users could change what lies in a folder: a sentence; empty if they cannot.

    Looks at the folder, at all in it, and at the folders above it, in which it could be replaced.
    """
    real = folder.resolve()
    for path, above in (*((parent, True) for parent in real.parents), *((it, False) for it in walk(real))):
        try:
            facts = path.stat()
        except OSError:
            continue  # gone meanwhile, or a link to nothing
        # In a folder such as /tmp only the owner of an entry may replace it.
        sticky = above and facts.st_mode & stat.S_ISVTX
        if facts.st_mode & stat.S_IWOTH and not sticky:
            return f"{path} may be written by all users (mode {stat.S_IMODE(facts.st_mode):04o})"
        if not above and facts.st_uid not in (0, os.geteuid()):
            return f"{path} belongs to another user (uid {facts.st_uid})"
    return ""


def walk(folder: Path) -> Iterator[Path]:
    """The folder and all in it."""
    yield folder
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *files))
