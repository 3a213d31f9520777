"""HTTP/2 by hand, to say what no library would say."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = 8
INITIAL_WINDOW_SIZE = 4
EMBED = b"/clipserve.v1.ClipService/Embed"
WATCH = b"/grpc.health.v1.Health/Watch"
CHECK = b"/grpc.health.v1.Health/Check"
REFLECT = b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame with an honest length."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header field, without compression."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def headers(path: bytes = EMBED, *more: tuple[bytes, bytes]) -> bytes:
    """The header block of a call."""
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *more,
    )
    return b"".join(literal(name, value) for name, value in fields)


def open_connection(address: str) -> socket.socket:
    """A TCP connection whose operations take at most two seconds."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=2)


def greeted(address: str, window: int | None = None) -> socket.socket:
    """A connection on which HTTP/2 has begun as it should; `window`: bytes that each stream takes."""
    connection = open_connection(address)
    settings = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
    return connection


def message(data: bytes, compressed: bool = False) -> bytes:
    """A gRPC message, with its prefix."""
    return bytes([compressed]) + struct.pack(">I", len(data)) + data


def call(stream: int, path: bytes, data: bytes, *more: tuple[bytes, bytes], flags: int = END_STREAM) -> bytes:
    """A call whose DATA frame has these bytes (at most 16 kB); by default it is the last one."""
    return frame(HEADERS, END_HEADERS, stream, headers(path, *more)) + frame(DATA, flags, stream, data)


class Sender:
    """A connection that sends one call with a long message, as far as the server lets it."""

    def __init__(self, address: str, path: bytes, data: bytes) -> None:
        self._connection = greeted(address)
        self._connection.sendall(frame(HEADERS, END_HEADERS, 1, headers(path)))
        self._connection.setblocking(False)
        self._data, self._sent, self._read = memoryview(data), 0, b""
        self._windows = {0: 65_535, 1: 65_535}
        self._out = b""

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def push(self) -> int:
        """Takes in what the server says, and sends what it allows; the bytes of the message sent."""
        try:
            self._hear()
            if self._out:
                self._out = self._out[self._connection.send(self._out) :]
            room = min(16_384, len(self._data) - self._sent, *self._windows.values())
            if self._out or room <= 0:
                return 0
            self._out = frame(DATA, 0, 1, bytes(self._data[self._sent : self._sent + room]))
        except BlockingIOError:
            return 0
        except OSError:
            # The server has ended the connection.
            self._windows[0] = 0
            return 0
        self._sent += room
        for stream in self._windows:
            self._windows[stream] -= room
        return room

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._read += self._connection.recv(65_536)
        while len(self._read) >= 9 and len(self._read) >= (end := 9 + int.from_bytes(self._read[:3], "big")):
            kind, flags, stream = self._read[3], self._read[4], int.from_bytes(self._read[5:9], "big")
            payload, self._read = self._read[9:end], self._read[end:]
            if kind == WINDOW_UPDATE and stream in self._windows:
                self._windows[stream] += int.from_bytes(payload, "big")
            elif kind == SETTINGS and not flags:
                self._settings(payload)
            elif kind == PING and not flags:
                self._out += frame(PING, 1, 0, payload)

    def _settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            name, value = struct.unpack(">HI", payload[at : at + 6])
            if name == INITIAL_WINDOW_SIZE:
                self._windows[1] += value - 65_535
        self._out += frame(SETTINGS, 1, 0)


def named(service: bytes) -> bytes:
    """The message of a health request."""
    return message(b"\n" + bytes([len(service)]) + service if service else b"")


def nonsense(chance: random.Random) -> dict[str, bytes]:
    """Things to send to a server that expects a preface, by name."""
    hello = PREFACE + frame(SETTINGS, 0, 0)
    more = frame(CONTINUATION, 0, 1, bytes(16_000))
    call = frame(HEADERS, END_HEADERS, 1, headers())
    return {
        "garbage": chance.randbytes(4096),
        "half a preface": PREFACE[:10],
        "HTTP/1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "half a frame": hello + call[: len(call) // 2],
        "a frame of 16 MB announced": hello + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(1000),
        "a header block of garbage": hello + frame(HEADERS, END_HEADERS, 1, chance.randbytes(200)),
        "data for no stream": hello + frame(DATA, 0, 7, bytes(100)),
        "a settings frame of odd length": hello + frame(SETTINGS, 0, 0, bytes(7)),
        "endless header blocks": hello + frame(HEADERS, 0, 1, headers()) + more * 64,
        "4 GB announced": hello + call + frame(DATA, 0, 1, b"\x00\xff\xff\xff\xff" + bytes(1000)),
        "badly compressed": hello + call + frame(DATA, 1, 1, b"\x01\x00\x00\x00\x08" + bytes(8)),
        "pings": hello + frame(PING, 0, 0, bytes(8)) * 2000,
        "settings": hello + frame(SETTINGS, 0, 0) * 2000,
        "resets": hello + b"".join(resets(range(1, 4001, 2))),
    }  # fmt: skip


def resets(streams: range) -> list[bytes]:
    """Calls that are begun and reset at once."""
    block = headers()
    return [
        frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))
        for stream in streams
    ]


def send_part(connection: socket.socket, stream: int, size: int, part: int, seconds: float = 2.0) -> int:
    """Begins a call of Embed with a message of so many bytes, and sends a part of it; how much was taken.

    Sends as flow control lets it, and stops where the server takes nothing for some time or ends the call.
    """
    connection.sendall(frame(HEADERS, END_HEADERS, stream, headers()))
    rest = memoryview(b"\0" + struct.pack(">I", size) + bytes(part))
    # What the peer has announced comes with its first frames; nothing is sent before.
    windows, sent, buffer = {0: 65_535, stream: 65_535}, 0, b""
    connection.settimeout(0.05)
    last = time.monotonic()
    while sent < len(rest) and time.monotonic() - last < seconds:
        room = min(windows[0], windows[stream], 16_384, len(rest) - sent)
        if room > 0:
            connection.settimeout(seconds)
            try:
                connection.sendall(frame(DATA, 0, stream, bytes(rest[sent : sent + room])))
            except OSError:
                return sent
            connection.settimeout(0.05)
            windows[0] -= room
            windows[stream] -= room
            sent += room
            last = time.monotonic()
            continue
        with contextlib.suppress(TimeoutError):
            piece = connection.recv(65_536)
            if not piece:
                return sent
            buffer += piece
        while len(buffer) >= 9 and len(buffer) >= 9 + (length := int.from_bytes(buffer[:3], "big")):
            kind, of, payload = buffer[3], int.from_bytes(buffer[5:9], "big"), buffer[9 : 9 + length]
            buffer = buffer[9 + length :]
            if kind == WINDOW_UPDATE and of in windows:
                windows[of] += int.from_bytes(payload, "big")
            elif kind == RST_STREAM and of == stream:
                return sent
    return sent
