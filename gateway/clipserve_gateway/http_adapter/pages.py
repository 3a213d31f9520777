"""The page that people can try: static files of the package, read once and served from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from clipserve_gateway.http_adapter.static_files import TYPES, File, packed, security_headers
from clipserve_gateway.settings import Settings

FOLDER = Path(__file__).parents[1] / "data" / "web"
BASE = "{web}"
"""Stands for the path of the files in the HTML."""
NEVER_CHANGES = "public, max-age=31536000, immutable"
HEADERS = security_headers(
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob:",
    "connect-src 'self'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
"""The page loads nothing from elsewhere, and no text becomes code or HTML."""


def routes(settings: Settings) -> list[BaseRoute]:
    """The page at `/` and its files at `/web/VERSION/…`; none where CLIPSERVE_WEB is off.

    VERSION changes with any file, so browsers keep files for good and never mix those of two versions.
    """
    if not settings.web:
        return []
    table = files()

    async def file(request: Request) -> Response:
        file = table.get(request.url.path)
        return file.response(request) if file else not_found()

    return [Route("/", file, methods=["GET"]), Route("/web/{path:path}", file, methods=["GET"])]


def files(folder: Path = FOLDER) -> dict[str, File]:
    """All files that are served, by the path of their URL."""
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in served(folder)}
    version = hashlib.sha256()
    for name, content in sorted(contents.items()):
        version.update(f"{name}\0{len(content)}\0".encode() + content)
    base = f"/web/{version.hexdigest()[:16]}"
    page = contents.pop("index.html").replace(BASE.encode(), base.encode())
    table = {
        f"{base}/{name}": packed(name, content, HEADERS, NEVER_CHANGES) for name, content in contents.items()
    }
    return {"/": packed("index.html", page, HEADERS)} | table


def served(folder: Path) -> Iterator[Path]:
    """The files below the folder whose type is in TYPES."""
    return (path for path in sorted(folder.rglob("*")) if path.suffix in TYPES and path.is_file())


def not_found() -> Response:
    """The answer for a path without a file: of another version, or a typing error."""
    return Response(
        "no file has this path; open / for the page\n",
        404,
        {**HEADERS, "cache-control": "no-store"},
        "text/plain",
    )
