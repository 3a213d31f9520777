"""The ASGI app of the API port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from clipserve_gateway.access.call import REQUEST_ID
from clipserve_gateway.calls.method import Method
from clipserve_gateway.calls.runner import TIMING, CallRunner
from clipserve_gateway.convert.status import Code, internal_status
from clipserve_gateway.errors import NotSupported
from clipserve_gateway.http_adapter import connect, pages
from clipserve_gateway.http_adapter.call import HttpCalls
from clipserve_gateway.http_adapter.errors import connect_error, refusal
from clipserve_gateway.http_adapter.hosts import OwnHosts
from clipserve_gateway.http_adapter.openai import routes as openai
from clipserve_gateway.http_adapter.openapi import routes as openapi
from clipserve_gateway.setting_values import is_loopback
from clipserve_gateway.settings import Settings

PREFLIGHT_SECONDS = 3600
"""How long a browser may remember that an origin is allowed."""
EXPOSED = (REQUEST_ID, f"trailer-{REQUEST_ID}", TIMING, f"trailer-{TIMING}", "retry-after", "retry-after-ms")
"""Headers that scripts of other origins may read."""


class ApiParts(Protocol):
    """The parts of a gateway that its API needs."""

    @property
    def methods(self) -> Sequence[Method]:
        """Every method of the API."""
        ...

    @property
    def runner(self) -> CallRunner:
        """Runs the calls."""
        ...


def api_app(parts: ApiParts, settings: Settings) -> Starlette:
    """The app of one gateway. Serve it on the gateway's event loop."""
    calls = HttpCalls(parts.runner, settings.limits)
    routes = [
        *connect.routes(parts.methods, calls),
        *openai.routes(parts.methods, calls),
        *pages.routes(settings),
    ]
    if settings.reflection:
        routes += openapi.routes(parts.methods, settings.limits, tokens=bool(settings.token_file))
    app = Starlette(
        routes=routes,
        middleware=[
            *own_hosts(settings),
            *cross_origin(settings.allowed_origins),
            Middleware(PathsAsWritten),
        ],
        exception_handlers={HTTPException: not_served, Exception: fault},
    )
    # A redirect would name the host that the request names.
    app.router.redirect_slashes = False
    return app


class PathsAsWritten:
    """Serves no path with an encoded slash: the rules of a proxy for `/v1/` would not apply to `/v1%2F`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if b"%2f" in (scope.get("raw_path") or b"").lower():
            response = await not_served(Request(scope), HTTPException(404))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def own_hosts(settings: Settings) -> list[Middleware]:
    """Refuses names of elsewhere where only this machine can reach the gateway, and no token is needed."""
    guarded = is_loopback(settings.api_host or settings.host) and not settings.token_file
    return [Middleware(OwnHosts)] if guarded else []


def cross_origin(origins: Sequence[str]) -> list[Middleware]:
    """Lets scripts of these origins call the API. They send tokens in a header: there are no cookies."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            # Any header: a list would have to name those of every client library.
            allow_headers=("*",),
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_SECONDS,
        )
    ]


async def not_served(request: Request, error: Exception) -> Response:
    """The answer for a path or a method that is not served."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:80]
    words = (
        f"{request.method} {path!r} is not served here" if error.status_code != 404 else f"no page {path!r}"
    )
    return refusal(NotSupported(words), error.status_code, error.headers)


async def fault(request: Request, error: Exception) -> Response:
    """The answer after a fault of the server; Starlette logs the error."""
    return Response(connect_error(Code.INTERNAL, internal_status()), 500, media_type="application/json")
