"""Writes Swagger UI into the gateway's data, as tests/javascript/package-lock.json pins it.

python -m testing.swagger_ui
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from testing.javascript import ROOT, packages, problem

TARGET = ROOT / "gateway" / "clipserve_gateway" / "data" / "docs"
PACKAGE = "swagger-ui-dist"
COMPRESSED = ("swagger-ui-bundle.js", "swagger-ui.css")
LICENSES = {
    "LICENSE": "LICENSE-swagger-ui.txt",
    "NOTICE": "NOTICE-swagger-ui.txt",
    "swagger-ui-bundle.js.LICENSE.txt": "LICENSES-swagger-ui-bundle.txt",
}
"""Names in the package, and here."""


def files(modules: Path) -> dict[str, bytes]:
    """What is written: contents by name, with those to be compressed as they are in the package."""
    names = dict(zip(COMPRESSED, COMPRESSED, strict=True)) | LICENSES
    return {name: (modules / PACKAGE / source).read_bytes() for source, name in names.items()}


def write() -> None:
    """Writes all files."""
    for name, content in files(packages()).items():
        if name in COMPRESSED:
            (TARGET / f"{name}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        else:
            (TARGET / name).write_bytes(content)


if __name__ == "__main__":
    if why := problem():
        sys.exit(f"✗ {why}")
    write()
