"""Files that are served from memory: with a tag, compressed where it helps, and under a content policy."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from clipserve_gateway.http_adapter.call import accepts_gzip

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
"""Types of files that are served."""
TEXTS = (".css", ".html", ".js", ".json", ".svg")
CHANGES = "no-cache"


def security_headers(*policy: str) -> dict[str, str]:
    """Headers of all files of a page. `policy`: directives of its content security policy."""
    fixed = ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")
    return {
        "content-security-policy": "; ".join((*policy, *fixed)),
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
        headers: of every answer, e.g. its security policy.
        cache: value of `cache-control`.
        compressed: the content with gzip; None for files that do not become smaller.
    """

    content: bytes
    kind: str
    headers: Mapping[str, str]
    cache: str = CHANGES
    compressed: bytes | None = None
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tag", hashlib.sha256(self.content).hexdigest()[:32])

    def response(self, request: Request) -> Response:
        """The answer to GET or HEAD. The tag of the compressed form differs, as HTTP asks for."""
        zipped = self.compressed is not None and accepts_gzip(request.headers)
        tag = f'"{self.tag}-gzip"' if zipped else f'"{self.tag}"'
        headers = {**self.headers, "cache-control": self.cache, "etag": tag}
        if self.compressed is not None:
            headers["vary"] = "accept-encoding"
        known = request.headers.get("if-none-match", "").split(",")
        if {tag, "*"} & {each.strip().removeprefix("W/") for each in known}:
            return Response(status_code=304, headers=headers)
        headers["content-type"] = self.kind
        if zipped:
            headers["content-encoding"] = "gzip"
        return Response(self.compressed if zipped else self.content, headers=headers)


def packed(name: str, content: bytes, headers: Mapping[str, str], cache: str = CHANGES) -> File:
    """A file, compressed if it is a text."""
    suffix = Path(name).suffix
    compressed = gzip.compress(content, 9, mtime=0) if suffix in TEXTS else None
    return File(content, TYPES[suffix], headers, cache, compressed)
