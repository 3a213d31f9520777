"""The app of the API port around a fake backend, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from clipserve_gateway.assembly import Parts, assemble
from clipserve_gateway.http_adapter.app import api_app
from clipserve_gateway.settings import Settings
from starlette.types import ASGIApp

from testing.callers import write_tokens
from testing.fakes import FakeBackend

EMBED = "/clipserve.v1.ClipService/Embed"
JSON = {"content-type": "application/json"}


@dataclass
class Api:
    """One gateway that listens nowhere, and a client of its app."""

    parts: Parts
    app: ASGIApp
    http: httpx.AsyncClient

    async def call(self, method: str, body: Any = None, **options: Any) -> httpx.Response:
        """Posts JSON to `Service/Method`; bytes go as they are."""
        content = {"content": body} if isinstance(body, bytes) else {"json": {} if body is None else body}
        headers = {**JSON, **options.pop("headers", {})}
        return await self.http.post(f"/clipserve.v1.{method}", headers=headers, **content, **options)

    async def released(self) -> None:
        """Waits until all calls have given back their room, which they do when their task ends."""
        while self.parts.intake.budget.used or len(self.parts.intake.calls):
            await asyncio.sleep(0)


Start = Callable[..., Awaitable[Api]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Builds a gateway, with tokens where lines of a token file are given."""
    clients: list[httpx.AsyncClient] = []

    async def start(*lines: str, **options: Any) -> Api:
        if lines:
            options["token_file"] = str(write_tokens(tmp_path, *lines))
        settings = Settings(data=str(tmp_path / "data"), **options)
        parts = assemble(settings, FakeBackend())
        await parts.models.refresh()
        app = api_app(parts, settings)
        transport = httpx.ASGITransport(app, client=("192.0.2.1", 5), raise_app_exceptions=False)
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://localhost"))
        return Api(parts, app, clients[-1])

    yield start
    for client in clients:
        await client.aclose()


@pytest.fixture
async def api(start: Start) -> Api:
    return await start()
