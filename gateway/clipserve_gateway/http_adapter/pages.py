"""The page that people can try: static files of the package, read once and served from memory."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from clipserve_gateway.settings import Settings

FOLDER = Path(__file__).parents[1] / "data" / "web"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
"""Types of the files that are served; others in the folder are not."""
TEXTS = (".css", ".html", ".js", ".json", ".svg")
BASE = "{web}"
"""Stands for the path of the files in the HTML."""
CHANGES = "no-cache"
NEVER_CHANGES = "public, max-age=31536000, immutable"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The page loads nothing from elsewhere, and no text becomes code or HTML."""
SECURITY = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class File:
    """One file to serve.

    Attributes:
        compressed: the same with gzip; None for files that do not become smaller.
        cache: value of `cache-control`.
    """

    content: bytes
    kind: str
    cache: str
    compressed: bytes | None = None
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tag", hashlib.sha256(self.content).hexdigest()[:32])

    def response(self, request: Request) -> Response:
        """The answer to GET or HEAD. The tag of the compressed form differs, as HTTP asks for."""
        zipped = self.compressed is not None and accepts_gzip(request)
        tag = f'"{self.tag}-gzip"' if zipped else f'"{self.tag}"'
        headers = {**SECURITY, "cache-control": self.cache, "etag": tag}
        if self.compressed is not None:
            headers["vary"] = "accept-encoding"
        known = [
            each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")
        ]
        if tag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        headers["content-type"] = self.kind
        if zipped:
            headers["content-encoding"] = "gzip"
        return Response(self.compressed if zipped else self.content, headers=headers)


def routes(settings: Settings) -> list[BaseRoute]:
    """The page at `/` and its files at `/web/VERSION/…`; none where CLIPSERVE_WEB is off.

    VERSION changes with any file, so browsers keep files for good and never mix those of two versions.
    """
    if not settings.web:
        return []
    table = files()

    async def file(request: Request) -> Response:
        found = table.get(request.url.path)
        return found.response(request) if found else not_found()

    return [Route("/", file, methods=["GET"]), Route("/web/{path:path}", file, methods=["GET"])]


def files(folder: Path = FOLDER) -> dict[str, File]:
    """All files that are served, by the path of their URL."""
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in served(folder)}
    version = hashlib.sha256()
    for name, content in sorted(contents.items()):
        version.update(f"{name}\0{len(content)}\0".encode() + content)
    base = f"/web/{version.hexdigest()[:16]}"
    page = contents.pop("index.html").replace(BASE.encode(), base.encode())
    table = {f"{base}/{name}": packed(name, content, NEVER_CHANGES) for name, content in contents.items()}
    return {"/": packed("index.html", page, CHANGES)} | table


def served(folder: Path) -> Iterator[Path]:
    """The files below the folder whose type is in TYPES."""
    return (path for path in sorted(folder.rglob("*")) if path.suffix in TYPES and path.is_file())


def packed(name: str, content: bytes, cache: str) -> File:
    """A file, compressed if it is a text."""
    suffix = Path(name).suffix
    compressed = gzip.compress(content, 9, mtime=0) if suffix in TEXTS else None
    return File(content, TYPES[suffix], cache, compressed)


def accepts_gzip(request: Request) -> bool:
    """Whether the caller takes gzip. `gzip;q=0` refuses it."""
    for each in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = each.strip().partition(";")
        if coding.strip() == "gzip":
            return weight.strip().removeprefix("q=").strip("0.") != "" if weight else True
    return False


def not_found() -> Response:
    """The answer for a path without a file: of another version, or a typing error."""
    return Response(
        "there is no such file; open / for the page\n",
        404,
        {**SECURITY, "cache-control": "no-store"},
        "text/plain",
    )
