"""The kernel's counts of bytes that this process's TCP connections have received and sent.

gRPC delivers a message only when it is complete. Only its connection shows how much of it has arrived. Linux
counts this for TCP; for other sockets and systems it is not known.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from urllib.parse import unquote

TCP_INFO = 11
BYTES_ACKED, BYTES_RECEIVED = 120, 128
"""Offsets of tcpi_bytes_acked and tcpi_bytes_received in Linux's struct tcp_info: 64 bits, in the host's
order."""
INFO_BYTES = 256
ADDRESS_BYTES = 128
MAPPED = "ipv6:[::ffff:"
"""Beginning of an IPv4 address on an IPv6 socket."""

_libc = ctypes.CDLL(None, use_errno=True)


def received_bytes(fd: int) -> int | None:
    """All bytes that a TCP connection has received; None if that is not known."""
    return _tcp_info(fd, BYTES_RECEIVED)


def acknowledged_bytes(fd: int) -> int | None:
    """All bytes that a TCP connection has sent and its peer has acknowledged; None if that is not known."""
    return _tcp_info(fd, BYTES_ACKED)


def _tcp_info(fd: int, offset: int) -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    info, size = ctypes.create_string_buffer(INFO_BYTES), ctypes.c_uint32(INFO_BYTES)
    # By file descriptor, because a socket object would close gRPC's connection.
    failed = _libc.getsockopt(fd, socket.IPPROTO_TCP, TCP_INFO, info, ctypes.byref(size))
    if failed or size.value < offset + 8:
        return None
    return int.from_bytes(info.raw[offset : offset + 8], sys.byteorder)


def peer_of(fd: int) -> str:
    """The peer of a TCP connection as gRPC names it, e.g. `ipv4:127.0.0.1:41234`; empty for other sockets."""
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


def normalized_peer(peer: str) -> str:
    """A peer from gRPC in the form of `peer_of`: without escapes, and mapped IPv4 as IPv4."""
    peer = unquote(peer)
    if peer.lower().startswith(MAPPED):
        return "ipv4:" + peer[len(MAPPED) :].replace("]:", ":", 1)
    return peer


def connections() -> dict[str, int]:
    """The file descriptors of all TCP connections of this process, by peer."""
    numbers = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    return {peer: int(number) for number in numbers if (peer := peer_of(int(number)))}


def close_connection(fd: int, peer: str) -> None:
    """Shuts the connection down, if the file descriptor still belongs to the peer."""
    if peer_of(fd) == peer:
        _libc.shutdown(fd, socket.SHUT_RDWR)
