"""What the kernel knows of this process's connections: how many bytes each has received.

gRPC shows a message only when all of it is there. How much has come of one that is under way can be told from
its connection alone. Linux counts that for TCP; elsewhere, and for other sockets, nothing is known.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from urllib.parse import unquote

TCP_INFO = 11
BYTES_RECEIVED = 128
"""Offset of tcpi_bytes_received in Linux's struct tcp_info: 64 bits, in the host's order."""
INFO_BYTES = 256
ADDRESS_BYTES = 128
MAPPED = "ipv6:[::ffff:"
"""How an IPv4 address begins that came to a socket of IPv6."""

_libc = ctypes.CDLL(None, use_errno=True)


def received(fd: int) -> int | None:
    """Bytes that a TCP connection has received in all; None where that is not known."""
    if not sys.platform.startswith("linux"):
        return None
    info, size = ctypes.create_string_buffer(INFO_BYTES), ctypes.c_uint32(INFO_BYTES)
    # By number: a socket object would close what is gRPC's.
    failed = _libc.getsockopt(fd, socket.IPPROTO_TCP, TCP_INFO, info, ctypes.byref(size))
    if failed or size.value < BYTES_RECEIVED + 8:
        return None
    return int.from_bytes(info.raw[BYTES_RECEIVED : BYTES_RECEIVED + 8], sys.byteorder)


def peer_of(fd: int) -> str:
    """The other end of a TCP connection as gRPC names it, e.g. `ipv4:127.0.0.1:41234`; empty for others."""
    address, size = ctypes.create_string_buffer(ADDRESS_BYTES), ctypes.c_uint32(ADDRESS_BYTES)
    if _libc.getpeername(fd, address, ctypes.byref(size)):
        return ""
    family = int.from_bytes(address.raw[:2], sys.byteorder)
    port = int.from_bytes(address.raw[2:4], "big")
    if family == socket.AF_INET:
        return f"ipv4:{socket.inet_ntop(family, address.raw[4:8])}:{port}"
    if family == socket.AF_INET6:
        host = address.raw[8:24]
        if host.startswith(bytes(10) + b"\xff\xff"):
            return f"ipv4:{socket.inet_ntop(socket.AF_INET, host[12:])}:{port}"
        return f"ipv6:[{socket.inet_ntop(family, host)}]:{port}"
    return ""


def plain(peer: str) -> str:
    """A peer as gRPC tells it, in the form that `peer_of` has: without escapes, mapped IPv4 as IPv4."""
    found = unquote(peer)
    if found.lower().startswith(MAPPED):
        return "ipv4:" + found[len(MAPPED) :].replace("]:", ":", 1)
    return found


def connections() -> dict[str, int]:
    """The file descriptor of every TCP connection of this process, by its peer."""
    found: dict[str, int] = {}
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        if peer := peer_of(int(name)):
            found[peer] = int(name)
    return found


def cut(fd: int, peer: str) -> None:
    """Ends the connection, if it still is the peer's."""
    if peer_of(fd) == peer:
        _libc.shutdown(fd, socket.SHUT_RDWR)
