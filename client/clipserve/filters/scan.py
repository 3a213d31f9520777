"""The words of a filter's text, looked at before Python's parser sees them.

The parser takes all of Python, to any depth; this lets only the words of filters pass, in shallow nests, and
says of what people write instead how it is written here.
"""

from __future__ import annotations

import keyword
import re

MAX_CHARACTERS = 10_000
MAX_BRACKETS = 32
"""Brackets in brackets, at most."""
MAX_NOTS = 16
"""`not` after `not`, at most."""

WORDS = ("and", "or", "not", "in", "True", "False")
"""Words of Python's that filters have too."""
INSTEAD = {
    "=": "write == to compare",
    "<>": "write != for “is not”",
    "&&": "write and",
    "&": "write and",
    "||": "write or",
    "|": "write or",
    "!": "write not",
    "~": "write not",
    "AND": "write and in small letters",
    "OR": "write or in small letters",
    "NOT": "write not in small letters",
    "IN": "write in in small letters",
    "is": "write == to compare",
    "None": "a field that a point has not cannot be asked for; every comparison with it is false",
    "{": "write lists in square brackets",
    "“": "write strings in plain quotes",
    "”": "write strings in plain quotes",
}
TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n\f]+)
    | (?P<string>"(?:[^"\\\r\n]|\\[^\r\n])*" | '(?:[^'\\\r\n]|\\[^\r\n])*')
    | (?P<number>(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_.]))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>==|!=|<=|>=|<>|&&|\|\||[<>(),\-+\[\]])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def wrong(column: int, message: str) -> ValueError:
    """The error, with the place, counted from 1."""
    return ValueError(f"column {column}: {message}")


def scan(text: str) -> str:
    """The text on one line; ValueError for what no filter consists of."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a filter has at most {MAX_CHARACTERS:,} characters, not {len(text):,}")
    if not text.strip():
        raise ValueError('the filter is empty; write for example: year >= 2020 and category == "cat"')
    opened: list[tuple[str, int]] = []
    before, nots, end = "", 0, 0
    for found in TOKEN.finditer(text):
        kind, word, column = found.lastgroup or "other", found[0], found.start() + 1
        if kind == "space":
            continue
        if word in INSTEAD and kind != "string":
            raise wrong(
                column, f"{INSTEAD[word]}, not {word}" if INSTEAD[word].startswith("write") else INSTEAD[word]
            )
        if kind == "other":
            raise wrong(column, unexpected(word))
        if kind == "string" and before == "name" and end == found.start():
            raise wrong(column, "a string has no letters before its quotes")
        if kind == "string" and before == "string":
            raise wrong(column, "a comma or an operator is missing between two strings")
        if kind == "name" and keyword.iskeyword(word) and word not in WORDS:
            raise wrong(column, f'{word} is a word of its own here; write field("{word}") for the field')
        nots = nots + 1 if word == "not" else 0
        if nots > MAX_NOTS:
            raise wrong(column, "too many not in a row")
        brackets(opened, word, column)
        before, end = ("word" if word in WORDS else kind), found.end()
    if opened:
        raise wrong(opened[-1][1], f"this {opened[-1][0]} is never closed")
    return re.sub(r"[\t\r\n\f]", " ", text)


def brackets(opened: list[tuple[str, int]], word: str, column: int) -> None:
    """Notes brackets that open, and takes away those that close."""
    if word in ("(", "["):
        opened.append((word, column))
        if len(opened) > MAX_BRACKETS:
            raise wrong(column, f"brackets nest at most {MAX_BRACKETS} deep")
    elif word in (")", "]") and (not opened or opened.pop()[0] != {")": "(", "]": "["}[word]):
        raise wrong(column, f"this {word} closes nothing")


def unexpected(character: str) -> str:
    """What to say of a character that no filter has."""
    if character in "\"'":
        return "this string is never closed"
    if character.isdigit():
        return "this is no number"
    if character == ".":
        return "fields have no parts; write a name without a dot"
    return f"{character!r} has no place in a filter; strings stand in quotes"
