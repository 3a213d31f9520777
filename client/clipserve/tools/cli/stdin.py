"""Standard input in place of a file, a text or a list: `-`, at most once in a command."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from clipserve.errors import ImageUnreadable
from clipserve.inputs.files import MAX_TEXT_BYTES, FileRefused, FileTooLarge, read_text
from clipserve.inputs.text_encoding import NotText, decoded
from clipserve.tools.cli.paths import ExistingPath
from clipserve.tools.cli.terminal import say
from clipserve.wire.images import MAX_FILE_BYTES

STDIN = Path("-")
"""Value of the options below for `-`. A file with that name is given as `./-`."""
STDIN_OWNER = "clipserve.stdin"
"""Key in the context's `meta` of the parameter that reads standard input."""


class PathOrStdin(ExistingPath):
    """An existing file or folder, or STDIN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value) == str(STDIN):
            claim(ctx, param)
            return STDIN
        path = super().convert(value, param, ctx)
        return path.absolute() if path == STDIN else path


class ListOrStdin(click.ParamType):
    """A text. `-` is returned unchanged; the code that splits the list reads standard input for it."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == str(STDIN):
            claim(ctx, param)
        return str(value)


class TextOrStdin(ListOrStdin):
    """A text; for `-`, all of standard input without its last line end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = super().convert(value, param, ctx)
        return text_of(STDIN).rstrip("\r\n") if text == str(STDIN) else text


FILE_OR_STDIN = PathOrStdin(path_type=Path, exists=True, dir_okay=False)
PICTURES_OR_STDIN = PathOrStdin(path_type=Path, exists=True)
TEXT_OR_STDIN = TextOrStdin()
LIST_OR_STDIN = ListOrStdin()


def claim(ctx: click.Context | None, param: click.Parameter | None) -> None:
    """Raises click.UsageError if another parameter reads standard input already."""
    if ctx is None:
        return
    name = param.get_error_hint(ctx) if param is not None else "this"
    if STDIN_OWNER in ctx.meta:
        raise click.UsageError(
            f"standard input (-) is given for {ctx.meta[STDIN_OWNER]} and for {name}, but can be read only "
            "once; write one of them to a file"
        )
    ctx.meta[STDIN_OWNER] = name


def opened_stdin() -> BinaryIO:
    """Standard input, with a hint if it is a terminal. Raises FileRefused if it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise FileRefused(STDIN, "standard input is closed")
    if sys.stdin.isatty():
        say("reading standard input; press Ctrl-D to end it", err=True)
    return sys.stdin.buffer


def read_stdin(limit: int) -> bytes:
    """All of standard input. Raises FileTooLarge for more than `limit` bytes."""
    content = opened_stdin().read(limit + 1)
    if len(content) > limit:
        raise FileTooLarge(STDIN, len(content), limit)
    return content


def text_of(path: Path) -> str:
    """The text of a file or of standard input. Raises click.UsageError for other encodings, OSError.

    Byte order marks at its beginning are removed; concatenated files may have several.
    """
    try:
        return (decoded(read_stdin(MAX_TEXT_BYTES)) if path == STDIN else read_text(path)).lstrip("\ufeff")
    except NotText as error:
        raise click.UsageError(f"{name_of(path)}: {error}") from None


def name_of(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def picture_input(path: Path) -> Path | bytes:
    """The file's path, or the bytes of standard input. Raises ImageUnreadable if it is empty."""
    if path != STDIN:
        return path
    content = read_stdin(MAX_FILE_BYTES)
    if not content:
        raise ImageUnreadable("standard input is empty")
    return content


@contextlib.contextmanager
def file_of(path: Path) -> Iterator[Path]:
    """The path of a file that is opened by path; standard input is copied to a temporary file."""
    if path != STDIN:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="clipserve-") as folder:
        copy = Path(folder, "standard input")
        with copy.open("wb") as file:
            shutil.copyfileobj(opened_stdin(), file)
        yield copy
