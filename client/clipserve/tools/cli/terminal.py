"""All output of the command goes through this module, which escapes unsafe characters.

Modules of the command call `say`, `confirm`, `ask`, `console`, `error_console` and `table`. Each takes one
line or cell at a time and escapes line ends too. `escaping` replaces standard output and standard error
around the whole command, so that output of click, Python or a library is escaped as well.
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
    click.echo(one_line(text), err=err)


def confirm(question: str, *, abort: bool = False) -> bool:
    """Asks a yes/no question on standard error. With `abort`, no raises click.Abort."""
    return click.confirm(one_line(question), abort=abort, err=True)


def ask(question: str) -> str:
    """Asks on standard error; returns the answer. The end of the input raises click.Abort."""
    return str(click.prompt(one_line(question), default="", show_default=False, err=True)).strip()


def safe(content: Any) -> Any:
    """Escapes unsafe characters in strings and rich texts; returns other objects unchanged."""
    if isinstance(content, str):
        return Text(one_line(content))  # a Text, since rich reads markup in plain strings
    if not isinstance(content, Text) or not UNSAFE.search(content.plain):
        return content
    pieces = [one_line(character) for character in content.plain]
    starts = [0, *itertools.accumulate(map(len, pieces))]
    escaped = Text("".join(pieces), style=content.style, overflow=content.overflow)
    last = len(pieces)
    escaped.spans = [
        Span(starts[min(span.start, last)], starts[min(span.end, last)], span.style) for span in content.spans
    ]
    return escaped


class SafeConsole(Console):
    """A console that escapes strings and texts. Tables escape their own cells."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*map(safe, objects), **options)


class SafeTable(Table):
    """A table that escapes its cells."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*map(safe, cells), **options)


def console() -> Console:
    """Standard output; PIPE_WIDTH columns if it is not a terminal."""
    made = SafeConsole(file=raw(sys.stdout), highlight=False)
    return made if made.is_terminal else SafeConsole(file=raw(sys.stdout), highlight=False, width=PIPE_WIDTH)


def error_console() -> Console:
    return SafeConsole(file=raw(sys.stderr), highlight=False)


def table(*columns: str | tuple[str, str], title: str = "") -> Table:
    """A plain table. A column is a name, or a pair of name and `right` for right-aligned."""
    rows = SafeTable(
        title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold dim"
    )
    for column in columns:
        name, side = (column, "left") if isinstance(column, str) else column
        rows.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    return rows


class EscapingStream(io.TextIOBase):
    """A text stream that escapes unsafe characters except line feeds and tabs.

    It has no `buffer`, since bytes would bypass the escaping.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes the text, escaped; TypeError for bytes."""
        if not isinstance(text, str):
            raise TypeError(f"this stream takes text, not {type(text).__name__}")
        self.stream.write(safe_lines(text))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # read-only here
        return self.stream.errors


def raw(stream: TextIO) -> TextIO:
    """The wrapped stream, for code that writes control sequences and escapes its own texts."""
    return stream.stream if isinstance(stream, EscapingStream) else stream


@contextlib.contextmanager
def escaping() -> Iterator[None]:
    """Escapes everything that is written to standard output and standard error inside the block."""
    sys.excepthook = show_exception
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            # Letters that the terminal's encoding lacks are escaped; by default they raise an error.
            stream.reconfigure(errors="backslashreplace")
    ours = EscapingStream(before[0]), EscapingStream(before[1])
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        # Other code may have replaced the streams inside the block.
        if sys.stdout is ours[0]:
            sys.stdout = before[0]
        if sys.stderr is ours[1]:
            sys.stderr = before[1]


def show_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    raw(sys.stderr).write(safe_lines("".join(traceback.format_exception(kind, error, trace))))
