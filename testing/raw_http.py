"""HTTP/1.1 as bytes, for tests of what no client library sends."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(port: int, context: ssl.SSLContext | None = None) -> Connection:
    """A new connection to a port of this machine."""
    name = "localhost" if context else None
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)


async def until_closed(connection: Connection) -> bytes:
    """What the connection receives until the server closes it."""
    reader, writer = connection
    answer = bytearray()
    with contextlib.suppress(ConnectionError):
        while more := await asyncio.wait_for(reader.read(1 << 20), 30):
            answer += more
    writer.transport.abort()
    return bytes(answer)


async def exchange(port: int, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Sends these bytes; all that the server answers until it closes the connection."""
    connection = await connect(port, context)
    connection[1].write(data)
    return await until_closed(connection)


def request(line: str = "GET /echo", body: bytes = b"", close: bool = True, **headers: str) -> bytes:
    """The bytes of a request."""
    fields = {"Host": "x"} | ({"Connection": "close"} if close else {})
    fields |= {"Content-Length": str(len(body))} if body else {}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{line} HTTP/1.1\r\n{head}\r\n".encode() + body


def status(answer: bytes) -> str:
    """The status line of an answer."""
    return answer.partition(b"\r\n")[0].decode()
