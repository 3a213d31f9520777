"""The audit log: one line of JSON for each attempt to change stored data, and for each refused call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator, Sequence
from io import TextIOWrapper

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow import stages
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.logs import JsonFormatter
from clipserve_gateway.process.watched_files import BadFile

STANDARD_OUTPUT = "-"
MAX_IDS = 100
"""Most ids in one line; `count` has the number of all ids."""

log = logging.getLogger(__name__)


class AuditLog:
    """Writes each line before the call is answered.

    A failure to write does not fail the call: it is counted and logged as an error.

    Args:
        target: a file, created with mode 0600 and reopened after it was moved; `-` for standard output;
            empty for no audit log.
    """

    def __init__(self, target: str, metrics: Metrics) -> None:
        """Raises BadFile if the file cannot be opened."""
        self._handler: logging.Handler | None = None
        if target == STANDARD_OUTPUT:
            self._handler = logging.StreamHandler(sys.stdout)
        elif target:
            try:
                self._handler = _PrivateFile(target, encoding="utf-8")
            except OSError as error:
                raise BadFile(f"audit_log: {target} cannot be opened ({error.strerror})") from error
        if self._handler is not None:
            self._handler.setFormatter(JsonFormatter())
            self._handler.handleError = lambda record: self._failed()  # type: ignore[method-assign]
        self._metrics = metrics

    @contextlib.contextmanager
    def change(self, action: str, peer: str, **facts: object) -> Iterator[dict[str, object]]:
        """Writes one line when the change has succeeded or failed. A cancelled change may have been made.

        `facts` name what is changed. The yielded dict takes further facts.
        """
        outcome = "INTERNAL"
        try:
            yield facts
            outcome = "OK"
        except ClipserveError as error:
            outcome = error.reason
            raise
        except asyncio.CancelledError:
            outcome = "CANCELLED"
            raise
        finally:
            self.record(action, peer=peer, outcome=outcome, **facts)

    def record(self, action: str, **facts: object) -> None:
        """Writes one line, with the token's name and the request id of the current call."""
        if self._handler is None:
            return
        call = stages.current()
        caller = {"token": call.notes.get("token", ""), "request_id": call.request_id} if call else {}
        line = logging.LogRecord("clipserve.audit", logging.INFO, "", 0, action, None, None)
        line.fields = caller | facts
        self._handler.handle(line)

    def _failed(self) -> None:
        self._metrics.audit_failures.inc()
        log.error("a line of the audit log could not be written: %s", sys.exc_info()[1])

    def close(self) -> None:
        """Closes the file. Errors of writing were logged when they happened."""
        if self._handler is not None:
            with contextlib.suppress(OSError):
                self._handler.close()


class _PrivateFile(logging.handlers.WatchedFileHandler):
    """A log file that only its owner can read."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def ids_fact(ids: Sequence[str]) -> dict[str, object]:
    """The number of ids, and the first of them."""
    return {"count": len(ids), "ids": list(ids[:MAX_IDS])}
