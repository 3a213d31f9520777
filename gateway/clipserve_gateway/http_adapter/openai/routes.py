"""The paths of OpenAI's API."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clipserve_gateway.calls.method import Method
from clipserve_gateway.convert.status import Code
from clipserve_gateway.errors import NotSupported
from clipserve_gateway.http_adapter.call import HttpCalls
from clipserve_gateway.http_adapter.connect import media_type
from clipserve_gateway.http_adapter.errors import UnsupportedMediaType
from clipserve_gateway.http_adapter.json_text import shown
from clipserve_gateway.http_adapter.openai.errors import openai_error
from clipserve_gateway.http_adapter.openai.transport import EmbeddingsTransport, ModelsTransport
from clipserve_gateway.http_adapter.transport import JSON


def routes(methods: Iterable[Method], calls: HttpCalls) -> list[BaseRoute]:
    """All paths below `/v1`. Unknown ones, and those without `/v1`, get OpenAI's form of an error, too."""
    named = {method.name: method for method in methods}
    limit = calls.limits.max_json_bytes

    async def embeddings(scope: Scope, receive: Receive, send: Send) -> None:
        known = media_type(Headers(scope=scope)) == JSON
        refused = None if known else UnsupportedMediaType([JSON])
        await calls.serve(scope, receive, send, named["Embed"], EmbeddingsTransport, limit, refused)

    async def models(scope: Scope, receive: Receive, send: Send) -> None:
        transport = functools.partial(ModelsTransport, name=scope["path_params"].get("name", ""))
        await calls.serve(scope, receive, send, named["GetServerInfo"], transport, limit)

    return [
        Route("/v1/embeddings", OneVerb("POST", embeddings)),
        Route("/v1/models", OneVerb("GET", models)),
        Route("/v1/models/{name:path}", OneVerb("GET", models)),
        *(
            Route(path, Nothing())
            for path in ("/v1/{rest:path}", "/embeddings", "/models", "/models/{name:path}")
        ),
    ]


class OneVerb:
    """The ASGI app of a path that is called by one method of HTTP."""

    def __init__(self, verb: str, app: ASGIApp) -> None:
        self._verb = verb
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["method"] == self._verb:
            await self._app(scope, receive, send)
            return
        error = NotSupported(f"{scope['path']} is called by {self._verb}, not by {shown(scope['method'])}")
        await refusal(error, 405, {"allow": self._verb})(scope, receive, send)


class Nothing:
    """The ASGI app of all other paths."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        path = scope["path"]
        words = "of OpenAI's API it has POST /v1/embeddings, GET /v1/models and GET /v1/models/NAME"
        if not path.startswith("/v1/"):
            words = "OpenAI's API is below /v1 here: set base_url to an address that ends in /v1"
        error = NotSupported(f"this server has no {shown(path)}; {words}")
        await refusal(error, 404)(scope, receive, send)


def refusal(error: NotSupported, status: int, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that is no call."""
    return Response(openai_error(Code.UNIMPLEMENTED, error), status, headers, JSON)
