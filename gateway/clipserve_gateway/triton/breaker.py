"""The circuit breaker of one Triton: while it does not answer, calls fail at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from clipserve_gateway import errors
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.logs import level_of_missing

log = logging.getLogger(__name__)

T = TypeVar("T")

STALL_SECONDS = 0.5
"""After this time without any answer from Triton, a waiting call starts a check."""


class Breaker:
    """Belongs to one event loop.

    Attributes:
        heard: when the replica last answered anything, on the monotonic clock.
    """

    def __init__(self, address: str, metrics: Metrics, on_stall: Callable[[], None]) -> None:
        """`on_stall` is called when calls wait and the replica answers nothing."""
        self.heard = 0.0
        self._address = address
        self._metrics = metrics
        self._on_stall = on_stall
        self._down: asyncio.Future[None] | None = None
        """Done while the replica is down; None before it first answered."""
        self._logged_level = 0
        """Of the complaint; 0 without one."""
        self._created_at = time.monotonic()

    @property
    def up(self) -> bool:
        """Whether the replica answered the last question."""
        return self._down is not None and not self._down.done()

    def come_up(self) -> None:
        """The replica answers."""
        self._down = asyncio.get_running_loop().create_future()
        self._metrics.triton_up.labels(self._address).set(1)

    def go_down(self, complaint: str) -> None:
        """The replica does not answer: calls under way fail, and no others are sent."""
        self.close()
        self._metrics.triton_up.labels(self._address).set(0)
        self.complain(complaint)

    def close(self) -> None:
        """Makes calls under way fail."""
        if self._down is not None and not self._down.done():
            self._down.set_result(None)

    def forget(self) -> None:
        """Makes calls under way fail, and removes the replica's metric."""
        self.close()
        with contextlib.suppress(KeyError):
            self._metrics.triton_up.remove(self._address)

    def complain(self, complaint: str) -> None:
        """Logs why the replica is down, once at each level; an empty complaint says that it is back."""
        level = level_of_missing(self._created_at, seen=self._down is not None) if complaint else 0
        if level > self._logged_level:
            log.log(level, "replica %s: %s", self._address, complaint)
        elif not complaint and self._logged_level:
            log.info("replica %s is back", self._address)
        self._logged_level = max(level, self._logged_level) if complaint else 0

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of one call. Raises ServerUnavailable at once when the replica is or goes down."""
        down = self._down
        if down is None or down.done():
            raise self._unavailable()
        calling = asyncio.ensure_future(work())
        try:
            waiting: set[asyncio.Future] = {calling, down}
            done: set[asyncio.Future] = set()
            while not done:
                done, _ = await asyncio.wait(
                    waiting, timeout=STALL_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if not done and time.monotonic() - self.heard >= STALL_SECONDS:
                    self._on_stall()
            if not calling.done():
                raise self._unavailable()
            return calling.result()
        finally:
            calling.cancel()

    def _unavailable(self) -> errors.ServerUnavailable:
        return errors.ServerUnavailable("the inference server does not answer; try again in a few seconds")
