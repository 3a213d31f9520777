"""The default model if no setting names one: the first model that was ever the only one served.

It is stored in the engine's documents, for all gateways and across restarts. So neither a second model nor
the removal of the first one changes the model of calls that name none; only an operator's setting does.
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
"""Longest wait for the engine, if only its document can tell the first model."""


class FirstModel:
    """Belongs to one event loop.

    Attributes:
        name: the model; empty as long as it is not known.
    """

    def __init__(self, engine: Engine) -> None:
        self.name = ""
        self._engine = engine
        self._read = False
        self._stored = ""
        self._complaint = ""
        self._agreeing: asyncio.Task[None] | None = None

    async def settle(self, listed: Collection[str]) -> None:
        """Updates the name from the models that exist now. Does not raise, and waits only if necessary."""
        if not self.name and len(listed) == 1:
            self.name = next(iter(listed))
        if self._read and self._stored == self.name:
            return
        if self._agreeing is None or self._agreeing.done():
            self._agreeing = asyncio.create_task(self._agree(), name="store the first model")
        if listed and not self.name:
            await asyncio.wait({self._agreeing}, timeout=READ_SECONDS)

    async def _agree(self) -> None:
        """Reads the document, once, and writes it if it differs."""
        try:
            document = await self._engine.get_document(KEY)
            stored = document.value.decode() if document is not None else ""
            if not self._read:
                self.name, self._read = stored or self.name, True
            if stored != self.name:
                version = document.version if document is not None else 0
                if not await self._engine.put_document(KEY, self.name.encode(), version=version):
                    # Another gateway wrote it first.
                    self._read = False
                    return
            self._stored, self._complaint = self.name, ""
        except ClipserveError as error:
            # Each check of the models tries again.
            if error.logged != self._complaint:
                log.warning("the default model cannot be stored, next try soon: %s", error.logged)
            self._complaint = error.logged

    async def close(self) -> None:
        """Cancels reading or writing in progress."""
        if self._agreeing is not None:
            self._agreeing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._agreeing
