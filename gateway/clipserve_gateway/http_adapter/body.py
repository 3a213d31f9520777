"""The body of one HTTP request: read within a limit, decompressed within the same limit."""

from __future__ import annotations

import asyncio
import zlib

from starlette.datastructures import Headers
from starlette.types import Receive

from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.http_adapter.errors import BodyTooLarge, UnsupportedEncoding, stands_twice

GZIP_RATIO = 1032
"""Bytes that one byte of gzip can become, at most."""
GZIP_HEADER = 31
"""For zlib: gzip with its header and checksum, a window of any size."""
BYTES_ON_LOOP = 4 << 10
"""Decompressing this many bytes takes 8 ms at most."""
MOST_MEMBERS = 64
"""Members of gzip: each one needs a copy of what follows it."""
ENCODINGS = ("gzip", "identity")


class Body:
    """Reads the body, once."""

    def __init__(self, headers: Headers, receive: Receive, limit: int) -> None:
        """`limit`: most bytes of the body, also after decompression."""
        self._receive = receive
        self._limit = limit
        self._encoding, *self._more_encodings = (
            value.strip().lower() for value in headers.getlist("content-encoding") or ["identity"]
        )
        length = headers.get("content-length", "")
        self._length = int(length[:20]) if length.isascii() and length.isdigit() else 0
        self._chunked = "transfer-encoding" in headers

    @property
    def expected(self) -> int:
        """The most bytes that it may have: what needs room before it is read. 0 if it is refused anyway."""
        if self._length > self._limit or self._more_encodings:
            return 0
        if self._chunked:
            return self._limit
        return min(self._limit, self._length * (GZIP_RATIO if self._encoding == "gzip" else 1))

    async def read(self) -> bytes:
        """All bytes, decompressed. Raises BodyTooLarge, UnsupportedEncoding, InvalidInput.

        A client that disconnects before the end cancels the call.
        """
        if self._more_encodings:
            raise stands_twice("content-encoding")
        if self._encoding not in ENCODINGS:
            raise UnsupportedEncoding(ENCODINGS)
        if self._length > self._limit:
            raise BodyTooLarge(self._limit)
        # Not a list of parts: a body may arrive in parts of one byte, and each would take forty.
        data = bytearray()
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise asyncio.CancelledError
            data += message.get("body", b"")
            more = message.get("more_body", False)
            if len(data) > self._limit:
                raise BodyTooLarge(self._limit)
        if self._encoding == "identity" or not data:
            return bytes(data)
        if len(data) <= BYTES_ON_LOOP:
            return inflate(data, self._limit)
        return await asyncio.to_thread(inflate, data, self._limit)


def inflate(data: bytes | bytearray, limit: int) -> bytes:
    """The content of gzip, of one member or several. Raises BodyTooLarge, InvalidInput."""
    members: list[bytes] = []
    rest, room = bytes(data), limit
    try:
        while rest:
            if len(members) == MOST_MEMBERS:
                raise InvalidInput(f"the gzip has more than {MOST_MEMBERS} members", field="content-encoding")
            member = zlib.decompressobj(GZIP_HEADER)
            # One byte more than allowed shows that there is too much.
            members.append(member.decompress(rest, room + 1))
            room -= len(members[-1])
            if room < 0:
                raise BodyTooLarge(limit)
            if not member.eof:
                raise InvalidInput("the body ends within its gzip data", field="content-encoding")
            rest = member.unused_data
    except zlib.error:
        raise InvalidInput(
            "the body is not gzip, as its content-encoding says", field="content-encoding"
        ) from None
    # Of one member this is no copy.
    return b"".join(members)


def deflate(data: bytes) -> bytes:
    """The data as gzip, quickly."""
    packer = zlib.compressobj(1, zlib.DEFLATED, GZIP_HEADER)
    return packer.compress(data) + packer.flush()
