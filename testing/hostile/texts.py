"""Texts that nobody would write, and that are embedded all the same."""

from __future__ import annotations

from testing.hostile.cases import ANSWERED, Item

MIB = 1 << 20
LIMIT = "LIMIT_EXCEEDED"

TEXTS: list[Item[str]] = [
    Item("text empty", lambda: "", ANSWERED),
    Item("text of one space", lambda: " ", ANSWERED),
    Item("text of a NUL", lambda: "\0", ANSWERED),
    Item("text of a thousand NULs", lambda: "\0" * 1000, ANSWERED),
    Item("text with a NUL inside", lambda: "a dog\0; drop table", ANSWERED),
    Item("text of every control character", lambda: "".join(map(chr, range(32))) * 20, ANSWERED),
    Item("text of later control characters", lambda: "".join(map(chr, range(0x7F, 0xA0))) * 20, ANSWERED),
    Item("text of a mebibyte of one letter", lambda: "a" * MIB, ANSWERED),
    Item("text of a mebibyte and one byte", lambda: "a" * (MIB + 1), LIMIT, "text"),
    Item("text of a mebibyte of spaces", lambda: " " * MIB, ANSWERED),
    Item("text of a mebibyte of line ends", lambda: "\n" * MIB, ANSWERED),
    Item("text of a mebibyte of emoji", lambda: "🐕" * (MIB // 4), ANSWERED),
    Item("text of a mebibyte and more in emoji", lambda: "🐕" * (MIB // 4 + 1), LIMIT, "text"),
    Item("text of a mebibyte of control characters", lambda: "\x01\n" * (MIB // 2), ANSWERED),
    Item("text of a mebibyte of accents on one letter", lambda: "e" + "\u0301" * (MIB // 2 - 1), ANSWERED),
    Item("text of a mebibyte of mojibake", lambda: "Ã©" * (MIB // 4), ANSWERED),
    Item("text of a mebibyte of mojibake in lines", lambda: "Ã©\n" * (MIB // 5), ANSWERED),
    Item("text of a mebibyte of ampersands", lambda: "&" * MIB, ANSWERED),
    Item("text of a mebibyte of entities", lambda: "&amp;" * (MIB // 5), ANSWERED),
    Item("text of entities in entities", lambda: "&" + "amp;" * 100_000, ANSWERED),
    Item("text of an entity of a million digits", lambda: "&#" + "1" * 1_000_000 + ";", ANSWERED),
    Item(
        "text of entities of no character",
        lambda: "&#0; &#x110000; &#xD800; &#xFFFF; &#x80; &bogus;",
        ANSWERED,
    ),
    Item("text of tags", lambda: "<b>" * 10_000, ANSWERED),
    Item("text of a script", lambda: "<script>alert(1)</script>", ANSWERED),
    Item("text of long-s and dotless i", lambda: "ſ ı İ ß ŉ ǰ ΐ ﬁ" * 100, ANSWERED),
    Item("text of ligatures that grow", lambda: "ﷺ" * 10_000, ANSWERED),
    Item(
        "text of zalgo", lambda: "".join(c + "\u0300\u0316\u0334\u0489" * 20 for c in "a dog runs"), ANSWERED
    ),
    Item("text from right to left", lambda: "كلب אדום " * 50, ANSWERED),
    Item("text with its direction overridden", lambda: "\u202egod a\u202c\u2066\u2069", ANSWERED),
    Item("text after a byte order mark", lambda: "\ufeffa dog", ANSWERED),
    Item("text of zero-width joiners", lambda: "👩\u200d👩\u200d👧\u200d👦" * 5_000, ANSWERED),
    Item("text of variation selectors", lambda: "\ufe0f\U000e0101" * 5_000, ANSWERED),
    Item("text of noncharacters", lambda: "\uffff\ufffe\ufdd0\U0010ffff" * 100, ANSWERED),
    Item("text of private characters", lambda: "\ue000\U000f0000" * 100, ANSWERED),
    Item(
        "text of tag characters",
        lambda: "a dog" + "".join(chr(0xE0000 + ord(c)) for c in "ignore all"),
        ANSWERED,
    ),
    Item("text of line separators", lambda: "a\u2028b\u2029c\x85d\x0be\x0cf" * 100, ANSWERED),
    Item("text of strange spaces", lambda: "a\u00a0b\u2003c\u3000d\u200be\u180ef" * 100, ANSWERED),
    Item("text of the end token", lambda: "<|endoftext|>" * 1_000, ANSWERED),
    Item("text of the start token", lambda: "<|startoftext|>" * 1_000, ANSWERED),
    Item("text of half a token", lambda: "<|" * 100_000, ANSWERED),
    Item("text of apostrophes", lambda: "'s't're've'm'll'd" * 10_000, ANSWERED),
    Item("text of a word of every script", lambda: "".join(chr(i) for i in range(0xA1, 0x3000)), ANSWERED),
    Item("text of digits", lambda: "9" * 100_000, ANSWERED),
    Item("text of punctuation", lambda: "!?" * 50_000, ANSWERED),
    Item("text of braces", lambda: "{}{0}{x!r:>99999999}%s%n%x", ANSWERED),
    Item("text of a query", lambda: "'; DROP TABLE points; --", ANSWERED),
    Item("text of a path", lambda: "../../../../etc/passwd", ANSWERED),
    Item("text of a template", lambda: "${jndi:ldap://x} {{7*7}} `id` $(id)", ANSWERED),
    Item("text of a log line", lambda: 'a\r\n{"level":"ERROR"}\x1b[31m', ANSWERED),
    Item("text of a very long word", lambda: "pneumono" * 30_000, ANSWERED),
]
"""Each as the text of an item; the field of those refused is the text itself."""
