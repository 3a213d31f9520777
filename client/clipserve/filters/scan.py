"""Checks the tokens of a filter's text before Python's parser reads it.

Python's parser accepts all of Python, at any depth. This module accepts only the tokens of filters and limits
the nesting. For common mistakes, its errors say what to write instead.
"""

from __future__ import annotations

import keyword
import re

MAX_CHARACTERS = 10_000
MAX_BRACKETS = 32
"""Maximum depth of nested brackets."""
MAX_NOTS = 16
"""Maximum number of consecutive `not`."""

WORDS = ("and", "or", "not", "in", "True", "False")
"""Python keywords that filters use."""
INSTEAD = {
    "=": "write == to compare",
    "<>": "write != for “is not”",
    "&&": "write and",
    "&": "write and",
    "||": "write or",
    "|": "write or",
    "!": "write not",
    "~": "write not",
    "AND": "write and in lower case",
    "OR": "write or in lower case",
    "NOT": "write not in lower case",
    "IN": "write in in lower case",
    "is": "write == to compare",
    "None": "filters cannot test for missing fields; comparisons with a missing field are false",
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


def error_at(column: int, message: str) -> ValueError:
    """The error, with its column, counted from 1."""
    return ValueError(f"column {column}: {message}")


def scan(text: str) -> str:
    """The text on one line. Raises ValueError for tokens that filters do not have."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a filter has at most {MAX_CHARACTERS:,} characters, not {len(text):,}")
    if not text.strip():
        raise ValueError('the filter is empty; write for example: year >= 2020 and category == "cat"')
    open_brackets: list[tuple[str, int]] = []
    before, nots, end = "", 0, 0
    for match in TOKEN.finditer(text):
        kind, word, column = match.lastgroup or "other", match[0], match.start() + 1
        if kind == "space":
            continue
        if word in INSTEAD and kind != "string":
            raise error_at(
                column, f"{INSTEAD[word]}, not {word}" if INSTEAD[word].startswith("write") else INSTEAD[word]
            )
        if kind == "other":
            raise error_at(column, unexpected(word))
        if kind == "string" and before == "name" and end == match.start():
            raise error_at(column, "strings have no prefix before the quotes")
        if kind == "string" and before == "string":
            raise error_at(column, "a comma or an operator is missing between two strings")
        if kind == "name" and keyword.iskeyword(word) and word not in WORDS:
            raise error_at(column, f'{word} is a reserved word; write field("{word}") for the field')
        nots = nots + 1 if word == "not" else 0
        if nots > MAX_NOTS:
            raise error_at(column, f"at most {MAX_NOTS} consecutive not are allowed")
        check_bracket(open_brackets, word, column)
        before, end = ("word" if word in WORDS else kind), match.end()
    if open_brackets:
        raise error_at(open_brackets[-1][1], f"this {open_brackets[-1][0]} is never closed")
    return re.sub(r"[\t\r\n\f]", " ", text)


def check_bracket(open_brackets: list[tuple[str, int]], word: str, column: int) -> None:
    """Pushes an opening bracket; checks and pops the partner of a closing one."""
    if word in ("(", "["):
        open_brackets.append((word, column))
        if len(open_brackets) > MAX_BRACKETS:
            raise error_at(column, f"brackets nest at most {MAX_BRACKETS} deep")
    elif word in (")", "]") and (not open_brackets or open_brackets.pop()[0] != {")": "(", "]": "["}[word]):
        raise error_at(column, f"no bracket is open for this {word}")


def unexpected(character: str) -> str:
    """The message for a character that filters do not have."""
    if character in "\"'":
        return "this string is never closed"
    if character.isdigit():
        return "this is not a number"
    if character == ".":
        return "nested fields do not exist; write a name without a dot"
    return f"{character!r} is not allowed in a filter; put strings in quotes"
