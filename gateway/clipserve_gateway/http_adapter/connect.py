"""Unary calls in the form of the Connect protocol: `POST /clipserve.v1.ClipService/Embed`.

Bodies are JSON (`application/json`) or protobuf (`application/proto`), plain or in gzip.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import Message
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clipserve_gateway.calls.method import Method
from clipserve_gateway.errors import ClipserveError, InvalidInput, NotSupported
from clipserve_gateway.http_adapter.call import HttpCalls
from clipserve_gateway.http_adapter.errors import UnsupportedMediaType, refusal
from clipserve_gateway.http_adapter.json_messages import read_message, write_message
from clipserve_gateway.http_adapter.transport import JSON, PROTO, HttpTransport, JsonTransport, ProtoTransport

M = TypeVar("M", bound=Message)

ALLOW = {"allow": "POST, OPTIONS"}
VERSION = "connect-protocol-version"
CHARSETS = ("utf-8", "utf8")


class MessageTransport(JsonTransport):
    """Messages as JSON, in protobuf's form."""

    def read(self, kind: type[M], data: bytes) -> M:
        """See JsonTransport."""
        return read_message(kind, data, self.limits)

    def write(self, answer: Message | bytes) -> bytes:
        """See JsonTransport."""
        return write_message(answer, self.method.response, self.limits)


TRANSPORTS: dict[str, type[HttpTransport]] = {JSON: MessageTransport, PROTO: ProtoTransport}
"""By the content type of the request, which is that of the answer."""


def routes(methods: Iterable[Method], calls: HttpCalls) -> list[BaseRoute]:
    """One route for all paths of the API."""
    return [Route("/clipserve.v1.{method:path}", Api(methods, calls))]


class Api:
    """The ASGI app of the API's paths."""

    def __init__(self, methods: Iterable[Method], calls: HttpCalls) -> None:
        self._endpoints: dict[str, ASGIApp] = {method.path: Endpoint(method, calls) for method in methods}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        path: str = scope["path"]
        answer = self._endpoints.get(path)
        if answer is None:
            error = NotSupported(f"this server has no method {path[:80]!r}; see GET /openapi.json")
            answer = refusal(error, 404)
        elif scope["method"] == "OPTIONS":
            answer = Response(status_code=204, headers=ALLOW)
        elif scope["method"] != "POST":
            answer = refusal(NotSupported("calls are made by POST"), 405, ALLOW)
        await answer(scope, receive, send)


class Endpoint:
    """The ASGI app of one method."""

    def __init__(self, method: Method, calls: HttpCalls) -> None:
        self._method = method
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a POST."""
        headers = Headers(scope=scope)
        transport, limits = TRANSPORTS.get(media_type(headers), MessageTransport), self._calls.limits
        limit = limits.max_json_bytes if transport is MessageTransport else limits.max_message_bytes
        refused = self._refused(headers)
        await self._calls.serve(scope, receive, send, self._method, transport, limit, refused)

    def _refused(self, headers: Headers) -> ClipserveError | None:
        """Why a request cannot be answered, whatever its body is."""
        if self._method.streaming:
            name = self._method.name
            return NotSupported(f"{name} is a stream: use gRPC, or {name.removesuffix('Stream')} over HTTP")
        if media_type(headers) not in TRANSPORTS:
            return UnsupportedMediaType(tuple(TRANSPORTS))
        if headers.getlist(VERSION) not in ([], ["1"]):
            return InvalidInput(f"{VERSION} must be 1", field=VERSION)
        return None


def media_type(headers: Headers) -> str:
    """The content type without parameters; empty for another charset than UTF-8, and for several types."""
    kinds = headers.getlist("content-type")
    kind, *parameters = kinds[0].lower().split(";") if len(kinds) == 1 else [""]
    for parameter in parameters:
        name, _, charset = parameter.partition("=")
        if name.strip() == "charset" and charset.strip(' "') not in CHARSETS:
            return ""
    return kind.strip()
