"""Protects a gateway on a loopback address from web pages of others.

A page may give its own host name the address 127.0.0.1, after it was loaded ("DNS rebinding"). To the browser
the gateway is then a part of that page's site. Only the Host header shows it. With tokens the page gets no
further, and at other addresses a gateway cannot know its names.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from clipserve_gateway.errors import PermissionDenied
from clipserve_gateway.http_adapter.errors import refusal

MISDIRECTED = 421
PORT = re.compile(r":[0-9]*$")


class OwnHosts:
    """Refuses requests whose Host header is a name of elsewhere. Addresses are never names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        host = Headers(scope=scope).get("host", "")
        if is_own(host):
            await self._app(scope, receive, send)
            return
        error = PermissionDenied(
            "this gateway listens on a loopback address without tokens, so it answers requests for localhost "
            "or an IP address only; use one of these, or set CLIPSERVE_TOKEN_FILE",
            metadata={"header": "host"},
        )
        await refusal(error, MISDIRECTED)(scope, receive, send)


def is_own(host: str) -> bool:
    """Whether a Host header can be that of a gateway on a loopback address. HTTP/1.0 may send none."""
    name = PORT.sub("", host).lower().rstrip(".")
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
