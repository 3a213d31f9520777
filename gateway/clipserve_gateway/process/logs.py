"""Logs: one JSON object a line, on standard error."""

from __future__ import annotations

import datetime as dt
import functools
import json
import logging
import time

from clipserve_gateway.process.safe_text import safe_json

STARTING_SECONDS = 180.0
"""What has not been there yet may still be starting: as long as a guard gives a Triton by default."""

encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger and message, and whatever a caller passed as ``extra={"fields": {...}}``.

    Names, ids and labels of callers are among these: characters that a terminal obeys are escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, object] = {
            "time": f"{second(int(record.created))}.{int(record.created % 1 * 1000):03}+00:00",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return safe_json(encode(line))


@functools.lru_cache(maxsize=2)
def second(at: int) -> str:
    """UTC's date and time, as ISO 8601 writes them; the same for all lines of a second."""
    return f"{dt.datetime.fromtimestamp(at, dt.timezone.utc):%Y-%m-%dT%H:%M:%S}"


def is_ours(record: logging.LogRecord) -> bool:
    """False for what grpcio logs of its callers: bytes of their headers, tokens too, and lost connections."""
    error = record.exc_info[0] if record.exc_info else None
    return error is None or error.__name__ not in ("UnicodeDecodeError", "ExecuteBatchError")


def configure(level: str) -> None:
    """Sends all logs to standard error as JSON, from `level` up."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(is_ours)


def level_of_missing(since: float, *, seen: bool) -> int:
    """The level at which to log that something is missing, which has been looked for `since` then.

    A service beside a Triton that starts as well has nothing to warn of. `since` is by time.monotonic().
    """
    starting = not seen and time.monotonic() - since < STARTING_SECONDS
    return logging.INFO if starting else logging.WARNING
