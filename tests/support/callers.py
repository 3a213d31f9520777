"""Callers of a gateway that asks for tokens."""

from __future__ import annotations

from pathlib import Path

import grpc
from clipserve_gateway.server import Gateway


def secret(name: str) -> str:
    """The token that tests give to a caller of that name."""
    return f"{name}-0123456789abcdef"


def write_tokens(folder: Path, *lines: str) -> Path:
    """A token file: of each line `NAME OPTIONS…`, with the caller's token after the name."""
    words = [line.split() for line in lines]
    text = "\n".join(" ".join([name, secret(name), *options]) for name, *options in words)
    path = folder / "tokens"
    path.write_text(text + "\n")
    return path


class Caller:
    """A connection to a gateway, and what is sent with each call: a token, or nothing."""

    def __init__(self, gateway: Gateway, name: str = "") -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}")
        self.metadata = (("authorization", f"Bearer {secret(name)}"),) if name else ()
