"""What a disk may hold after a power cut: what was synced, and of everything else anything or nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

RECORDER = Path(__file__).parent / "power"


def recording(folder: Path) -> dict[str, str]:
    """The environment of a process whose syncs are recorded in a folder."""
    path = os.pathsep.join([str(RECORDER), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path, "CLIPSERVE_FAULTS_SYNCS": str(folder)}


class DiskImage:
    """The synced state of a folder, by the record of a process that was killed."""

    def __init__(self, record: Path, live: Path) -> None:
        self._live = live
        self._names: dict[str, set[str]] = {}
        self._copies: dict[str, Path] = {}
        log = record / "log"
        for line in log.read_text().splitlines() if log.exists() else ():
            entry = json.loads(line)
            if "names" in entry:
                self._names[entry["path"]] = set(entry["names"])
            else:
                self._copies[entry["path"]] = Path(entry["copy"])

    def write(self, to: Path, chance: random.Random | None = None) -> None:
        """Writes an image. Without chance, nothing is there that was not synced.

        With it, each file, entry and removal that was not synced is there or not; files may be cut off.
        """
        self._write(self._live, to, chance)

    def _write(self, source: Path, to: Path, chance: random.Random | None) -> None:
        if source.is_dir() or str(source) in self._names:
            to.mkdir(parents=True, exist_ok=True)
            for name in self._entries(source, chance):
                self._write(source / name, to / name, chance)
        elif str(source) in self._copies:
            shutil.copyfile(self._copies[str(source)], to)
        else:
            content = source.read_bytes() if chance and source.exists() else b""
            whole = len(content)
            kept = chance.choice([0, chance.randint(0, whole), whole, whole]) if chance else 0
            to.write_bytes(content[:kept])

    def _entries(self, folder: Path, chance: random.Random | None) -> list[str]:
        synced = self._names.get(str(folder), set())
        if chance is None:
            return sorted(synced)
        now = set(os.listdir(folder)) if folder.is_dir() else set()
        return sorted((synced & now) | {name for name in synced ^ now if chance.random() < 0.5})
