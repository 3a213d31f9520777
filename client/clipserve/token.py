"""The bearer token: where it comes from, and how it is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from clipserve.errors import Unauthenticated
from clipserve.files import MAX_SECRET_BYTES, read_regular

TokenSource: TypeAlias = str | Callable[[], str] | None
Metadata: TypeAlias = tuple[tuple[str, str], ...]

SENDABLE = re.compile(r"[!-~]+")
"""gRPC shows metadata that it cannot send in its error, and a token must not be seen there."""


@dataclass(frozen=True)
class TokenFile:
    """A token in a file of its own, read for every call: one that is changed there is used at once."""

    path: str | os.PathLike[str]

    def __call__(self) -> str:
        """The token. Raises OSError, or Unauthenticated where the file holds none."""
        token = read_regular(self.path, MAX_SECRET_BYTES).decode(errors="replace").strip()
        if not SENDABLE.fullmatch(token):
            raise Unauthenticated(f"{os.fspath(self.path)} holds no token")
        return token


def bearer(source: TokenSource) -> Metadata:
    """What is sent with a call; ValueError, which does not show it, for a token that cannot be sent."""
    token = source() if callable(source) else source
    if not token:
        return ()
    if not SENDABLE.fullmatch(token):
        raise ValueError("the token holds spaces, or characters that are not ASCII")
    return (("authorization", f"Bearer {token}"),)
