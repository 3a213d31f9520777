"""The one place through which the command prints. What comes from elsewhere is escaped here.

Modules of the command call `say`, `confirm`, `console`, `error_console` and `table`: each takes one line (or
one cell) at a time, and escapes line ends in it too. Around the whole command, `escaping` replaces standard
output and standard error, so that what click, Python or a library writes by itself is escaped as well.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TextIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Span, Text

from clipserve.safe_text import UNSAFE, one_line, safe_lines

PIPE_WIDTH = 140


def say(text: str = "", *, err: bool = False) -> None:
    """Prints one line."""
    click.echo(one_line(text), err=err)


def confirm(question: str, *, abort: bool = False) -> bool:
    """Asks, on standard error; click.Abort for a no where `abort` says so."""
    return click.confirm(one_line(question), abort=abort, err=True)


def ask(question: str) -> str:
    """An answer to a question, which is asked on standard error; click.Abort at the end of the input."""
    return str(click.prompt(one_line(question), default="", show_default=False, err=True)).strip()


def safe(content: Any) -> Any:
    """Strings and rich texts with unsafe characters escaped; anything else as it is."""
    if isinstance(content, str):
        return Text(one_line(content))  # not markup: brackets stay brackets
    if not isinstance(content, Text) or not UNSAFE.search(content.plain):
        return content
    pieces = [one_line(character) for character in content.plain]
    starts = [0, *itertools.accumulate(map(len, pieces))]
    made = Text("".join(pieces), style=content.style, overflow=content.overflow)
    last = len(pieces)
    made.spans = [
        Span(starts[min(span.start, last)], starts[min(span.end, last)], span.style) for span in content.spans
    ]
    return made


class SafeConsole(Console):
    """A console that escapes the strings and texts that it prints. Tables escape their cells themselves."""

    def print(self, *objects: Any, **options: Any) -> None:
        """See rich."""
        super().print(*map(safe, objects), **options)


class SafeTable(Table):
    """A table that escapes its cells."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """See rich."""
        super().add_row(*map(safe, cells), **options)


def console() -> Console:
    """Standard output; wide where it is not a terminal, since nothing needs to fit there."""
    made = SafeConsole(file=raw(sys.stdout), highlight=False)
    return made if made.is_terminal else SafeConsole(file=raw(sys.stdout), highlight=False, width=PIPE_WIDTH)


def error_console() -> Console:
    """Standard error."""
    return SafeConsole(file=raw(sys.stderr), highlight=False)


def table(*columns: str | tuple[str, str], title: str = "") -> Table:
    """A plain table; a column is its name, or name and `right`."""
    made = SafeTable(
        title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold dim"
    )
    for column in columns:
        name, side = (column, "left") if isinstance(column, str) else column
        made.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    return made


class EscapingStream(io.TextIOBase):
    """A text stream that escapes unsafe characters, but for line feeds and tabs, and passes the rest on.

    It has no `buffer`: bytes would go around it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes the text, escaped; TypeError for bytes."""
        if not isinstance(text, str):
            raise TypeError(f"this is a stream of text, not of {type(text).__name__}")
        self.stream.write(safe_lines(text))
        return len(text)

    def flush(self) -> None:
        """Passes it on."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether the stream behind it is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The file descriptor of the stream behind it."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """True."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        """Of the stream behind it."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # read-only here
        """Of the stream behind it."""
        return self.stream.errors


def raw(stream: TextIO) -> TextIO:
    """The stream itself, for those who write control sequences on purpose and escape what they print."""
    return stream.stream if isinstance(stream, EscapingStream) else stream


@contextlib.contextmanager
def escaping() -> Iterator[None]:
    """Escapes all that is written to standard output and standard error inside."""
    sys.excepthook = show_exception
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a letter gets its escape, not an error.
            stream.reconfigure(errors="backslashreplace")
    ours = EscapingStream(before[0]), EscapingStream(before[1])
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        # Others may have put something of their own in their place since.
        if sys.stdout is ours[0]:
            sys.stdout = before[0]
        if sys.stderr is ours[1]:
            sys.stderr = before[1]


def show_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's own display of an error that nothing caught, escaped."""
    raw(sys.stderr).write(safe_lines("".join(traceback.format_exception(kind, error, trace))))
