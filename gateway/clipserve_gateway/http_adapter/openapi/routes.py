"""Serves the description at /openapi.json, and Swagger UI, which shows it, at /docs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from clipserve_gateway.calls.method import Method
from clipserve_gateway.http_adapter.openapi.document import document
from clipserve_gateway.http_adapter.static_files import TYPES, File, packed, security_headers
from clipserve_gateway.types import Limits

FOLDER = Path(__file__).parents[2] / "data" / "docs"
HEADERS = security_headers(
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    # Icons in Swagger UI's style sheet are data: URIs.
    "img-src 'self' data:",
    "connect-src 'self'",
)


def routes(methods: Sequence[Method], limits: Limits, *, tokens: bool) -> list[BaseRoute]:
    """The routes. They need no token: what they answer is public, but for the limits.

    Args:
        tokens: whether calls need a token.
    """
    table = files() | {"/openapi.json": described(document(methods, limits, tokens=tokens))}

    async def file(request: Request) -> Response:
        return table[request.url.path].response(request)

    return [Route(path, file, methods=["GET"]) for path in table]


def described(description: object) -> File:
    """The description as a file."""
    content = json.dumps(description, ensure_ascii=False, separators=(",", ":")).encode()
    return packed("openapi.json", content, HEADERS)


def files() -> dict[str, File]:
    """The page and its files, by path. Those of Swagger UI are stored compressed."""
    table = {"/docs": packed("index.html", (FOLDER / "index.html").read_bytes(), HEADERS)}
    for path in FOLDER.glob("*.js"):
        table[f"/docs/{path.name}"] = packed(path.name, path.read_bytes(), HEADERS)
    for path in FOLDER.glob("*.gz"):
        compressed = path.read_bytes()
        kind = TYPES[Path(path.stem).suffix]
        table[f"/docs/{path.stem}"] = File(gzip.decompress(compressed), kind, HEADERS, compressed=compressed)
    return table
