"""Reads the token file: one token a line, and what it allows.

    NAME  TOKEN or sha256:HEX  [methods=…] [collections=…] [labels=…] [models=…]
        [rate=…] [burst=…] [calls=…] [streams=…] [expires=…]

Error messages name lines and words by number: their text may be a secret.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipserve_gateway.access.grants import Grant
from clipserve_gateway.access.methods import GROUPS, RPCS, methods_of
from clipserve_gateway.access.rate import Rate

NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,512}=*")
"""A bearer token by RFC 6750, long enough not to be guessed."""
HASHED = re.compile(r"sha256:([0-9a-f]{64})")
PATTERN = re.compile(r"[\w*?-]{1,64}", re.ASCII)
NAME_PATTERN = re.compile(r"[\w.@+*?-]{1,256}", re.ASCII)
"""Pattern for label sets and models, whose names may have more kinds of characters than collections."""


class BadTokenFile(Exception):
    """The token file is not valid. The message holds no secret."""


@dataclass(frozen=True)
class TokenTable:
    """SHA-256 digests of the tokens of a file, and what each token allows."""

    entries: tuple[tuple[bytes, Grant], ...]

    def find(self, digest: bytes) -> Grant | None:
        """The grant of the token with this digest; None if there is none. Takes constant time."""
        match = None
        for known, grant in self.entries:
            if hmac.compare_digest(known, digest):
                match = grant
        return match


def digest_of(token: str) -> bytes:
    """The SHA-256 of a token."""
    return hashlib.sha256(token.encode()).digest()


def new_token() -> str:
    """A new token of 256 random bits."""
    return "clipserve_" + secrets.token_urlsafe(32)


def line_of(name: str, token: str, options: tuple[str, ...]) -> str:
    """The line of a token, with its SHA-256 only. Raises BadTokenFile for a wrong name or option."""
    words = [name, f"sha256:{digest_of(token).hex()}", *options]
    read_line(words)
    return " ".join(words)


def read_token_file(path: str) -> TokenTable:
    """The tokens of a file. Raises OSError or BadTokenFile."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BadTokenFile("it is not valid UTF-8") from None
    entries: dict[bytes, Grant] = {}
    for number, words in lines_of(text):
        try:
            digest, grant = read_line(words)
        except BadTokenFile as error:
            raise BadTokenFile(f"line {number}: {error}") from None
        if digest in entries:
            raise BadTokenFile(f"line {number}: the token of {entries[digest].name!r} appears twice")
        entries[digest] = grant
    if not entries:
        raise BadTokenFile("it holds no token; create one with `clipserve-gateway token`")
    return TokenTable(tuple(entries.items()))


def lines_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number (from 1) and words of each line that is neither empty nor a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def read_line(words: list[str]) -> tuple[bytes, Grant]:
    """The digest of a token, and what the token allows."""
    if len(words) < 2:
        raise BadTokenFile(
            "write a name and a token on it (a client's token file is different: it holds only one token)"
        )
    name, token, *options = words
    if not NAME.fullmatch(name):
        raise BadTokenFile("the name (word 1) must have 1 to 64 letters, digits or _ . @ -")
    return read_digest(token), Grant(name, **read_options(options))


def read_digest(word: str) -> bytes:
    """The digest of a word that is a token, or `sha256:` and a digest."""
    if word.startswith("sha256:"):
        digest = HASHED.fullmatch(word.lower())
        if digest is None:
            raise BadTokenFile("sha256: (word 2) must be followed by 64 hexadecimal digits")
        return bytes.fromhex(digest[1])
    if not TOKEN.fullmatch(word):
        raise BadTokenFile(
            "the token (word 2) must have 16 to 512 letters, digits or - . _ ~ + / "
            "(create one with `clipserve-gateway token`)"
        )
    return digest_of(word)


def read_options(words: list[str]) -> dict[str, Any]:
    """The fields of a Grant that the options set."""
    values: dict[str, str] = {}
    for number, word in enumerate(words, 3):
        option, _, value = word.partition("=")
        if option not in OPTIONS or not value:
            raise BadTokenFile(f"word {number} must be one of {', '.join(f'{name}=…' for name in OPTIONS)}")
        if option in values:
            raise BadTokenFile(f"{option}= appears twice")
        values[option] = value
    fields = {name: read_option(name, value) for name, value in values.items()}
    if "burst" in fields and "rate" not in fields:
        raise BadTokenFile("burst= needs rate=")
    if "rate" in fields:
        rate = fields["rate"]
        # The default burst is one second at the rate.
        fields["rate"] = Rate(rate, fields.pop("burst", max(1.0, rate)))
    return fields


def read_option(name: str, value: str) -> Any:
    """The value of one option."""
    try:
        return OPTIONS[name](value)
    except BadTokenFile as error:
        raise BadTokenFile(f"{name}: {error}") from None


def read_methods(value: str) -> frozenset[str]:
    """Names of RPCs, from names of RPCs and of groups."""
    methods: set[str] = set()
    for word in value.split(","):
        if word in GROUPS:
            methods |= methods_of(word)
        elif word in RPCS:
            methods.add(word)
        else:
            raise BadTokenFile(f"{word[:40]} is unknown; use {', '.join(GROUPS)}, {', '.join(RPCS)}")
    return frozenset(methods)


def read_patterns(pattern: re.Pattern[str], characters: str, value: str) -> tuple[str, ...]:
    """Patterns of names, separated by commas. `characters` are those that one may have, for the error."""
    patterns = tuple(value.split(","))
    for each in patterns:
        if not pattern.fullmatch(each):
            raise BadTokenFile(
                f"{each[:80]!r} is not a pattern of names; use letters, digits or {characters}"
            )
    return patterns


def read_number(value: str) -> float:
    """A number above 0."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise BadTokenFile(f"{value[:20]} is not a number above 0")
    return number


def read_count(value: str) -> int:
    """A whole number above 0."""
    if not (value.isascii() and value.isdigit() and 0 < int(value[:12]) < 10**9):
        raise BadTokenFile(f"{value[:20]} is not a whole number above 0")
    return int(value)


def read_moment(value: str) -> dt.datetime:
    """A time; a date means its midnight, and a time without an offset is UTC."""
    try:
        moment = dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise BadTokenFile(
            f"{value[:40]} is not a time; write it like 2027-01-31 or 2027-01-31T18:00:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


OPTIONS: dict[str, Callable[[str], Any]] = {
    "methods": read_methods,
    "collections": functools.partial(read_patterns, PATTERN, "_ - * ?"),
    "labels": functools.partial(read_patterns, NAME_PATTERN, "_ . @ + - * ?"),
    "models": functools.partial(read_patterns, NAME_PATTERN, "_ . @ + - * ?"),
    "rate": read_number,
    "burst": read_number,
    "calls": read_count,
    "streams": read_count,
    "expires": read_moment,
}
