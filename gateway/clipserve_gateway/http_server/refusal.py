"""Answers that the web server gives by itself."""

from __future__ import annotations

import http
from email.utils import formatdate

import h11

CLOSE = (b"connection", b"close")


def refusal(conn: h11.Connection, status: int, reason: str) -> bytes:
    """The bytes of a whole answer that refuses a request."""
    body = f"{reason}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"date", date()),
        CLOSE,
    ]
    phrase = http.HTTPStatus(status).phrase.encode()
    events = (
        h11.Response(status_code=status, headers=headers, reason=phrase),
        h11.Data(data=body),
        h11.EndOfMessage(),
    )
    return b"".join(conn.send(event) or b"" for event in events)


def date() -> bytes:
    """The value of the Date header."""
    return formatdate(usegmt=True).encode()
