"""The model that answers where none is named and none is set: the first that was served alone.

It is kept in the engine's documents, for all gateways and over restarts. So a second model changes nothing
for callers that name none, nor does the first one's removal: an operator's setting alone does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.base import Engine

log = logging.getLogger(__name__)

KEY = "models/first"
READ_SECONDS = 5.0
"""How long the models wait for the engine, where only its document can tell which was the first."""


class FirstModel:
    """Belongs to one event loop.

    Attributes:
        name: the model; empty while none is known.
    """

    def __init__(self, engine: Engine) -> None:
        self.name = ""
        self._engine = engine
        self._read = False
        self._stored = ""
        self._complaint = ""
        self._agreeing: asyncio.Task[None] | None = None

    async def settle(self, listed: Collection[str]) -> None:
        """Takes note of the models that there are now. Does not raise; waits only where it must."""
        self._choose(listed)
        if self._read and self._stored == self.name:
            return
        if self._agreeing is None or self._agreeing.done():
            self._agreeing = asyncio.create_task(self._agree(), name="keep the first model")
        if listed and not self.name:
            await asyncio.wait({self._agreeing}, timeout=READ_SECONDS)

    def _choose(self, listed: Collection[str]) -> None:
        if not self.name and len(listed) == 1:
            self.name = next(iter(listed))

    async def _agree(self) -> None:
        """Reads the document, once, and writes it where it says otherwise."""
        try:
            document = await self._engine.get_document(KEY)
            kept = document.value.decode() if document is not None else ""
            if not self._read:
                self.name, self._read = kept or self.name, True
            if kept != self.name:
                version = document.version if document is not None else 0
                if not await self._engine.put_document(KEY, self.name.encode(), version=version):
                    # Another gateway was first.
                    self._read = False
                    return
            self._stored, self._complaint = self.name, ""
        except ClipserveError as error:
            # Each look at the models tries again.
            if error.logged != self._complaint:
                log.warning("which model was the first cannot be kept: %s", error.logged)
            self._complaint = error.logged

    async def close(self) -> None:
        """Ends what is under way."""
        if self._agreeing is not None:
            self._agreeing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._agreeing
