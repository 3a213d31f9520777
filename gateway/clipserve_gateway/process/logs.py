"""Logs to standard error, one JSON object a line."""

from __future__ import annotations

import datetime as dt
import functools
import json
import logging
import time

from clipserve_gateway.process.safe_text import safe_json

STARTING_SECONDS = 180.0
"""Time in which a missing service may still be starting; equals the guard's default for Triton."""

encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger, message, and the fields in ``extra={"fields": {...}}``.

    These contain names, ids and labels of callers, so control characters are escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, object] = {
            "time": f"{iso_second(int(record.created))}.{int(record.created % 1 * 1000):03}+00:00",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return safe_json(encode(line))


@functools.lru_cache(maxsize=2)
def iso_second(timestamp: int) -> str:
    """Date and time in UTC by ISO 8601. Cached, because many lines have the same second."""
    return f"{dt.datetime.fromtimestamp(timestamp, dt.timezone.utc):%Y-%m-%dT%H:%M:%S}"


def is_ours(record: logging.LogRecord) -> bool:
    """False for grpcio's logs of lost connections, and of header bytes, which may contain tokens."""
    error = record.exc_info[0] if record.exc_info else None
    return error is None or error.__name__ not in ("UnicodeDecodeError", "ExecuteBatchError")


def configure(level: str) -> None:
    """Sends all logs of at least this level to standard error, as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(is_ours)


def level_of_missing(since: float, *, seen: bool) -> int:
    """The level for logging that a service is missing: INFO while it may still be starting, then WARNING.

    Args:
        since: when the search began, by time.monotonic().
        seen: whether the service has been there before.
    """
    starting = not seen and time.monotonic() - since < STARTING_SECONDS
    return logging.INFO if starting else logging.WARNING
