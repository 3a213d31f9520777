"""The bearer token: where it comes from, and how it is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from clipserve.errors import Unauthenticated
from clipserve.inputs.files import MAX_SECRET_BYTES, read_regular

TokenSource: TypeAlias = str | Callable[[], str] | None
Metadata: TypeAlias = tuple[tuple[str, str], ...]

HASHED = re.compile(r"sha256:[0-9a-fA-F]{64}")
"""How the gateway's token file holds a token; never a token itself."""
NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
"""First word of a line in the gateway's token file."""
SENDABLE = re.compile(r"[!-~]+")
"""gRPC shows metadata that it cannot send in its error, and a token must not be seen there."""


@dataclass(frozen=True)
class TokenFile:
    """A token in a file of its own, read for every call: one that is changed there is used at once."""

    path: str | os.PathLike[str]

    def __call__(self) -> str:
        """The token. Raises OSError, or Unauthenticated where the file holds none."""
        token = read_regular(self.path, MAX_SECRET_BYTES).decode(errors="replace").strip()
        if not SENDABLE.fullmatch(token) or HASHED.fullmatch(token):
            raise Unauthenticated(f"{os.fspath(self.path)} {problem_of(token)}")
        return token


def problem_of(content: str) -> str:
    """Why a file's content is not a token, without showing any of it."""
    lines = [line.split() for line in content.splitlines() if line.strip() and not line.startswith("#")]
    if any(HASHED.match(word) for words in lines for word in words):
        return (
            "holds lines of the gateway's token file (NAME sha256:…), which a client cannot use. Give a file "
            "with the token alone, as `clipserve-gateway token --out FILE` writes it"
        )
    if any(len(words) > 1 for words in lines) and all(NAME.fullmatch(words[0]) for words in lines):
        return (
            "holds no token alone, and looks like the gateway's token file (NAME TOKEN … on each line). Put "
            "the token alone, without its name, into a file of its own"
        )
    return "holds no token: the file must hold one token and nothing else"


def bearer(source: TokenSource) -> Metadata:
    """What is sent with a call; ValueError, which does not show it, for a token that cannot be sent."""
    token = source() if callable(source) else source
    if not token:
        return ()
    if not SENDABLE.fullmatch(token):
        raise ValueError("the token holds spaces, or characters that are not ASCII")
    return (("authorization", f"Bearer {token}"),)
