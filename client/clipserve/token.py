"""The bearer token: its source, and the metadata that carries it."""

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
"""A token's hash in the gateway's token file; never a token itself."""
NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
"""First word of a line in the gateway's token file."""
SENDABLE = re.compile(r"[!-~]+")
"""Characters of valid metadata. gRPC's error for others would show the token."""


@dataclass(frozen=True)
class TokenFile:
    """A file with one token. It is read for every call, so a changed token is used at once."""

    path: str | os.PathLike[str]

    def __call__(self) -> str:
        """The token. Raises OSError, or Unauthenticated if the file does not contain a token."""
        token = read_regular(self.path, MAX_SECRET_BYTES).decode(errors="replace").strip()
        if not SENDABLE.fullmatch(token) or HASHED.fullmatch(token):
            raise Unauthenticated(f"{os.fspath(self.path)} {problem_of(token)}")
        return token


def problem_of(content: str) -> str:
    """Why a file's content is not a token, without showing any of it."""
    lines = [line.split() for line in content.splitlines() if line.strip() and not line.startswith("#")]
    if any(HASHED.match(word) for words in lines for word in words):
        return (
            "has lines of the gateway's token file (NAME sha256:…), which a client cannot use. Give a file "
            "with only the token, as `clipserve-gateway token --out FILE` writes it"
        )
    if any(len(words) > 1 for words in lines) and all(NAME.fullmatch(words[0]) for words in lines):
        return (
            "looks like the gateway's token file (NAME TOKEN … on each line). Put the token alone, without "
            "its name, into a file"
        )
    return "does not contain a token: the file must contain one token and nothing else"


def bearer(source: TokenSource) -> Metadata:
    """The metadata of a call. Raises ValueError, without showing the token, if it cannot be sent."""
    token = source() if callable(source) else source
    if not token:
        return ()
    if not SENDABLE.fullmatch(token):
        raise ValueError("the token has spaces or non-ASCII characters")
    return (("authorization", f"Bearer {token}"),)
