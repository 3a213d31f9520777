"""Ids that are refused, and odd ones that are not."""

from __future__ import annotations

from testing.hostile.cases import ANSWERED, Item

INVALID = "INVALID_INPUT"

IDS: list[Item[str]] = [
    Item("id empty", lambda: "", INVALID),
    Item("id of 513 bytes", lambda: "a" * 513, INVALID),
    Item("id of 513 bytes in 171 characters", lambda: "犬" * 171, INVALID),
    Item("id of a megabyte", lambda: "a" * 1_000_000, INVALID),
    Item("id with a NUL", lambda: "a\0b", INVALID),
    Item("id with a line end", lambda: "a\nb", INVALID),
    Item("id with an escape", lambda: "\x1b[31m", INVALID),
    Item("id with delete", lambda: "a\x7f", INVALID),
    Item("id with a later control character", lambda: "a\x85", INVALID),
    Item("id of 512 bytes", lambda: "a" * 512, ANSWERED),
    Item("id of one space", lambda: " ", ANSWERED),
    Item("id of a quote", lambda: "'", ANSWERED),
    Item("id of a query", lambda: "x' OR '1'='1", ANSWERED),
    Item("id of a query with a comment", lambda: "'; DROP TABLE points; --", ANSWERED),
    Item("id of backslashes", lambda: "\\' OR 1=1 \\", ANSWERED),
    Item("id of wildcards", lambda: "%_*?", ANSWERED),
    Item("id of a path", lambda: "../../etc/passwd", ANSWERED),
    Item("id of quotes of all kinds", lambda: "\"`'‘’“”", ANSWERED),
    Item("id of an emoji", lambda: "🐕", ANSWERED),
    Item("id of a noncharacter", lambda: "\uffff\U0010ffff", ANSWERED),
    Item("id of a direction override", lambda: "\u202egpj.exe", ANSWERED),
    Item("id of a byte order mark", lambda: "\ufeff", ANSWERED),
    Item("id of braces", lambda: "{0}%s", ANSWERED),
    Item("id of the word NULL", lambda: "NULL", ANSWERED),
]
