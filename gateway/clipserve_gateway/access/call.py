"""One call, independent of the protocol that carries it."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass

from clipserve_gateway.access.caller import Caller
from clipserve_gateway.flow.deadline import Deadline

REQUEST_ID = "x-request-id"
MAX_REQUEST_ID = 128
"""Characters."""


@dataclass(eq=False)
class Call:
    """What is known of a call before its first message is read.

    The adapter of a protocol creates the call and serves it in one asyncio task. It cancels this task when
    the caller cancels the call or disconnects.

    Attributes:
        method: name of the RPC, e.g. `Embed`.
        peer: address of the caller, e.g. `ipv4:127.0.0.1:41234`.
        metadata: headers; names are in lower case.
        deadline: the caller's deadline; None if the caller sets none.
        streaming: whether the caller sends a stream of messages.
        caller: the token's holder; None before authentication and on a gateway without tokens.
    """

    method: str
    peer: str
    metadata: Sequence[tuple[str, str | bytes]] = ()
    deadline: Deadline | None = None
    streaming: bool = False
    caller: Caller | None = None

    def header(self, name: str) -> str:
        """The first text value of a header; empty if the call has none."""
        return next((value for key, value in self.metadata if key == name and isinstance(value, str)), "")

    @functools.cached_property
    def request_id(self) -> str:
        """The caller's `x-request-id` if it is short, printable ASCII, otherwise a random one."""
        value = self.header(REQUEST_ID)
        kept = value.isascii() and value.isprintable() and 0 < len(value) <= MAX_REQUEST_ID
        return value if kept else os.urandom(16).hex()

    @property
    def owner(self) -> str:
        """What limits are counted by: the token, or the connection on a gateway without tokens."""
        return f"token {self.caller.grant.name}" if self.caller is not None else self.peer

    def deadline_or(self, seconds: float) -> Deadline:
        """The caller's deadline, or `seconds` from now if the caller sets none."""
        return Deadline.after(seconds) if self.deadline is None else self.deadline
