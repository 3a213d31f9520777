"""BusyBox for the tests of shell scripts that run in an image with BusyBox's tools."""

from __future__ import annotations

import shutil
from pathlib import Path

from bootstrap import debian


def install_busybox(folder: Path) -> str:
    """Puts `busybox` into `folder`, unless it is on PATH; why it cannot, empty if all is well.

    Without it the tests concerned are skipped, and say so: nothing that users run needs it.
    """
    if shutil.which("busybox") or (folder / "busybox").exists():
        return ""
    if not debian.available():
        return "busybox is not on PATH, and there is no apt-get to download it with"
    try:
        with debian.unpacked("busybox") as tree:
            shutil.copy2(next(tree.rglob("bin/busybox")), folder / "busybox")
    except (debian.FetchFailed, StopIteration, OSError) as error:
        return f"busybox cannot be downloaded: {error}"
    return ""
