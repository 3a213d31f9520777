"""Finds installed files that are gone from an environment."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

REMOVED = ("torch/include/", "torch/test/", "torch/bin/")
"""Files that the set-up removes: headers and tests, which only C++ programs need."""


def missing_files(environment: Path) -> Iterator[str]:
    """Missing files that pip recorded, by their paths below site-packages."""
    for record in sorted(environment.glob("lib/python3.*/site-packages/*.dist-info/RECORD")):
        site = record.parent.parent
        text = record.read_text(encoding="utf-8", errors="replace")
        for row in csv.reader(io.StringIO(text)):
            name = row[0] if row else ""
            if not name or name.endswith(".pyc") or name.startswith(REMOVED):
                continue
            if not (site / name).exists():
                yield name
