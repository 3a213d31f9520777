"""Labels and prompts from files and options, with the place of each."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import click

from clipserve.inputs.text_encoding import lines_in
from clipserve.safe_text import quoted
from clipserve.tools.cli.terminal import say

COMMENT = re.compile(r"#+(?:\s|$)")
"""A comment has white space after its #, so `#1 fan` and `#selfie` are labels."""
WHOLE_QUOTE = re.compile(r'"((?:[^"]|"")*)"')
PLACES = "clipserve.places"
"""Key in the context's `meta` of the places of the command's labels and templates."""
FIELD = re.compile(r"\b(labels\.names|labels\.templates|labels|texts)\[(\d+)\]")
"""Names of fields in errors of the server and of arguments in errors of the SDK."""
KINDS = {"labels": "names", "labels.names": "names", "labels.templates": "templates", "texts": "texts"}


@dataclass(frozen=True)
class Place:
    """The place of a text: a file or option, and the line or entry in it, counted from 1."""

    source: str
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.source}, {self.unit} {self.number}"


@dataclass(frozen=True)
class Listed:
    """Texts in order, the place of each, and notes for the user on how they were read."""

    texts: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Listed) -> Listed:
        return Listed(self.texts + other.texts, self.places + other.places, self.notes + other.notes)

    def tell(self) -> None:
        for note in self.notes:
            say(note, err=True)

    def check_distinct(self) -> None:
        """Raises click.UsageError for a text that occurs twice."""
        first: dict[str, Place] = {}
        for text, place in zip(self.texts, self.places, strict=True):
            before = first.setdefault(text, place)
            if before is not place:
                raise click.UsageError(
                    f"{place}: {quoted(text)} is also {before.unit} {before.number}; remove one of them"
                )


def entries(texts: Iterable[str], source: str, unit: str, first: int = 1) -> Listed:
    """Texts that were given one by one, numbered from `first`."""
    given = tuple(texts)
    return Listed(given, tuple(Place(source, unit, first + i) for i in range(len(given))))


def from_lines(text: str, source: str) -> Listed:
    """One text a line, stripped. Empty lines and comments are ignored.

    A text may be quoted, with doubled quotes inside; so it may begin with `# `. Raises click.UsageError for a
    quote that is not closed.
    """
    texts: list[str] = []
    places: list[Place] = []
    comments, hashes = 0, []
    for number, line in enumerate(map(str.strip, lines_in(text)), 1):
        place = Place(source, "line", number)
        if COMMENT.match(line):
            comments += 1
        elif line:
            if line.startswith("#"):
                hashes.append(place)
            texts.append(unquoted(line, place))
            places.append(place)
    notes = []
    if comments:
        notes.append(f"{source}: ignored {comments} comment{'s' * (comments > 1)} (# and a space)")
    if hashes:
        text = texts[places.index(hashes[0])]
        notes.append(f"{hashes[0]}: {quoted(text)} is read as a text; comments have a space after the #")
    if len(texts) == 1 and "," in texts[0] and not text.strip().startswith('"'):
        notes.append(f"{places[0]}: {quoted(texts[0])} is read as one entry; write one entry a line")
    return Listed(tuple(texts), tuple(places), tuple(notes))


def plain_lines(text: str, source: str) -> Listed:
    """One text a line, stripped, without comments or quotes. Empty lines are ignored."""
    lines = [(i, line.strip()) for i, line in enumerate(lines_in(text), 1)]
    places = tuple(Place(source, "line", i) for i, line in lines if line)
    return Listed(tuple(line for _, line in lines if line), places)


def unquoted(line: str, place: Place) -> str:
    """The line without the quotes around it. Raises click.UsageError for a quote that is not closed."""
    whole = WHOLE_QUOTE.fullmatch(line)
    if whole:
        return whole[1].replace('""', '"').strip()
    if line.startswith('"') and line.count('"') % 2:
        raise click.UsageError(
            f'{place}: {quoted(line)} begins with a quote that is not closed; write " at its end, and "" for '
            "a quote inside"
        )
    return line


def from_commas(text: str, source: str) -> tuple[str, ...]:
    """Texts separated by commas, as in CSV; a quoted text may have commas. Raises click.UsageError."""
    try:
        rows = list(csv.reader(lines_in(text), skipinitialspace=True, strict=True))
    except csv.Error:
        raise click.UsageError(
            f"{source} {quoted(text)}: a quote is not closed, or text follows it; write "
            '\'"salt, pepper",cat\', and "" for a quote inside'
        ) from None
    return tuple(one.strip() for row in rows for one in row if one.strip())


def with_places(message: str, places: Mapping[str, Sequence[Place]]) -> str:
    """Replaces names of fields of labels, templates and texts in the message by their places."""

    def place(match: re.Match[str]) -> str:
        known, i = places.get(KINDS[match[1]], ()), int(match[2])
        return str(known[i]) if i < len(known) else match[0]

    return FIELD.sub(place, message)


def joined(places: Iterable[Place]) -> str:
    """Several places as text: `birds.txt, lines 1, 4 and 7`."""
    words = []
    for (source, unit), group in groupby(places, key=lambda place: (place.source, place.unit)):
        numbers = [str(place.number) for place in group]
        if len(numbers) == 1:
            words.append(f"{source}, {unit} {numbers[0]}")
        else:
            words.append(f"{source}, {unit}s {', '.join(numbers[:-1])} and {numbers[-1]}")
    return "; ".join(words)
