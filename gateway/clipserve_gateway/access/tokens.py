"""The token file: one token a line, with what it allows.

    NAME  TOKEN or sha256:HEX  [methods=…] [collections=…] [labels=…] [models=…]
        [rate=…] [burst=…] [calls=…] [streams=…] [expires=…]

Messages about it tell lines and words by their numbers: what stands there may be a secret.
"""

from __future__ import annotations

import datetime as dt
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
"""What RFC 6750 lets a bearer token be, and not so short that it could be guessed."""
HASHED = re.compile(r"sha256:([0-9a-f]{64})")
PATTERN = re.compile(r"[\w*?-]{1,64}", re.ASCII)
NAME_PATTERN = re.compile(r"[\w.@+*?-]{1,256}", re.ASCII)
"""Of label sets and models, whose names have more characters than those of collections."""


class BadTokenFile(Exception):
    """What is wrong with a token file; never with a secret in it."""


@dataclass(frozen=True)
class TokenTable:
    """The tokens of a file, as SHA-256 digests, and what each allows."""

    entries: tuple[tuple[bytes, Grant], ...]

    def find(self, digest: bytes) -> Grant | None:
        """What the token of that digest allows; None if there is none. Takes as long for any digest."""
        found = None
        for known, grant in self.entries:
            if hmac.compare_digest(known, digest):
                found = grant
        return found


def digest_of(token: str) -> bytes:
    """The token's SHA-256."""
    return hashlib.sha256(token.encode()).digest()


def new_token() -> str:
    """A token of 256 random bits."""
    return "clipserve_" + secrets.token_urlsafe(32)


def line_of(name: str, token: str, options: tuple[str, ...]) -> str:
    """The line of a token, which does not hold the token itself; BadTokenFile for a bad name or option."""
    words = [name, f"sha256:{digest_of(token).hex()}", *options]
    read_line(words)
    return " ".join(words)


def read_token_file(path: str) -> TokenTable:
    """The tokens of a file; OSError or BadTokenFile."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BadTokenFile("it is no text in UTF-8") from None
    entries: dict[bytes, Grant] = {}
    for number, words in lines_of(text):
        try:
            digest, grant = read_line(words)
        except BadTokenFile as error:
            raise BadTokenFile(f"line {number}: {error}") from None
        if digest in entries:
            raise BadTokenFile(f"line {number}: the token of {entries[digest].name!r} once more")
        entries[digest] = grant
    if not entries:
        raise BadTokenFile("it holds no token; `clipserve-gateway token` makes one")
    return TokenTable(tuple(entries.items()))


def lines_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """The words of each line that is neither empty nor a comment, with the line's number from 1."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def read_line(words: list[str]) -> tuple[bytes, Grant]:
    """A token's digest, and what it allows."""
    if len(words) < 2:
        raise BadTokenFile(
            "a name and a token belong on it (the file that a client uses, with one token, is another)"
        )
    name, token, *options = words
    if not NAME.fullmatch(name):
        raise BadTokenFile("the name (word 1) may have 1 to 64 letters, digits and any of _ . @ -")
    return read_digest(token), Grant(name, **read_options(options))


def read_digest(word: str) -> bytes:
    """The digest, of which the word is the token or the hexadecimal form."""
    if word.startswith("sha256:"):
        found = HASHED.fullmatch(word.lower())
        if found is None:
            raise BadTokenFile("after sha256: (word 2) belong 64 hexadecimal digits")
        return bytes.fromhex(found[1])
    if not TOKEN.fullmatch(word):
        raise BadTokenFile(
            "the token (word 2) must have 16 to 512 letters, digits and any of - . _ ~ + / "
            "(`clipserve-gateway token` makes one)"
        )
    return digest_of(word)


def read_options(words: list[str]) -> dict[str, Any]:
    """The fields of a Grant that the options set."""
    found: dict[str, str] = {}
    for number, word in enumerate(words, 3):
        option, _, value = word.partition("=")
        if option not in OPTIONS or not value:
            raise BadTokenFile(f"word {number} is none of {', '.join(f'{name}=…' for name in OPTIONS)}")
        if option in found:
            raise BadTokenFile(f"{option}= stands there twice")
        found[option] = value
    fields = {name: OPTIONS[name](value) for name, value in found.items()}
    if "burst" in fields and "rate" not in fields:
        raise BadTokenFile("burst= needs rate= beside it")
    if "rate" in fields:
        rate = fields["rate"]
        # A second's worth, so that a rate alone is enough.
        fields["rate"] = Rate(rate, fields.pop("burst", max(1.0, rate)))
    return fields


def read_methods(value: str) -> frozenset[str]:
    """RPCs, named one by one or as a group."""
    found: set[str] = set()
    for word in value.split(","):
        if word in GROUPS:
            found |= methods_of(word)
        elif word in RPCS:
            found.add(word)
        else:
            raise BadTokenFile(f"methods={word[:40]}: there are {', '.join(GROUPS)}, and {', '.join(RPCS)}")
    return frozenset(found)


def read_collections(value: str) -> tuple[str, ...]:
    """Patterns of collections and aliases."""
    return read_patterns(value, PATTERN, "collections={}: letters, digits and any of _ - * ?")


def read_label_sets(value: str) -> tuple[str, ...]:
    """Patterns of label sets."""
    return read_patterns(value, NAME_PATTERN, "labels={}: letters, digits and any of _ . @ + - * ?")


def read_models(value: str) -> tuple[str, ...]:
    """Patterns of models."""
    return read_patterns(value, NAME_PATTERN, "models={}: letters, digits and any of _ . @ + - * ?")


def read_patterns(value: str, allowed: re.Pattern[str], complaint: str) -> tuple[str, ...]:
    """Patterns of names, with commas between them; BadTokenFile with the complaint about a bad one."""
    patterns = tuple(value.split(","))
    for pattern in patterns:
        if not allowed.fullmatch(pattern):
            raise BadTokenFile(complaint.format(pattern[:80]))
    return patterns


def read_number(value: str) -> float:
    """A number above 0."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise BadTokenFile(f"{value[:20]} is no number above 0")
    return number


def read_count(value: str) -> int:
    """A whole number from 1 on."""
    if not (value.isascii() and value.isdigit() and 0 < int(value[:12]) < 10**9):
        raise BadTokenFile(f"{value[:20]} is no whole number above 0")
    return int(value)


def read_moment(value: str) -> dt.datetime:
    """A moment; a date alone is its first one, and UTC is meant where no offset is given."""
    try:
        moment = dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise BadTokenFile(
            f"expires={value[:40]}: write it like 2027-01-31 or 2027-01-31T18:00:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


OPTIONS: dict[str, Callable[[str], Any]] = {
    "methods": read_methods,
    "collections": read_collections,
    "labels": read_label_sets,
    "models": read_models,
    "rate": read_number,
    "burst": read_number,
    "calls": read_count,
    "streams": read_count,
    "expires": read_moment,
}
