"""BusyBox for the tests of shell scripts that run in an image with BusyBox's tools."""

from __future__ import annotations

import shutil
from pathlib import Path

from bootstrap import debian


def install_busybox(folder: Path) -> str:
    """Puts `busybox` into `folder`, unless it is on PATH; the error, empty if there is none.

    Only tests need it; without it they are skipped.
    """
    if shutil.which("busybox") or (folder / "busybox").exists():
        return ""
    if not debian.available():
        return "busybox is not on PATH, and apt-get is missing to download it"
    try:
        with debian.unpacked("busybox") as tree:
            shutil.copy2(next(tree.rglob("bin/busybox")), folder / "busybox")
    except (debian.FetchFailed, StopIteration, OSError) as error:
        return f"busybox cannot be downloaded: {error}"
    return ""
