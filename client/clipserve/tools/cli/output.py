"""Numbers, JSON, progress bars and lists of errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from clipserve.errors import ClipserveError
from clipserve.safe_text import json_text, one_line
from clipserve.tools.cli.terminal import error_console, say

LISTED_ERRORS = 20


def print_json(document: Mapping[str, Any]) -> None:
    """Prints one JSON document on stdout; NaN and infinities become null."""
    click.echo(json_text(finite(document), indent=2))


def finite(value: Any) -> Any:
    """The value with null for NaN and infinities, which JSON lacks."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def bar(share: float, width: int = 16) -> Text:
    """A bar that is filled to `share`, 0 to 1."""
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    drawn = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return Text(drawn.ljust(width), style="cyan")


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash for none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share, 0 to 1, in percent, or a dash for none."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


class Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """The current rate; after the end, the rate of the whole run."""
        # Rich leaves out the time before the first step, which makes the rate of a few large steps too high.
        speed = task.completed / task.finished_time if task.finished_time else task.speed
        return Text(f"{speed:,.1f}/s" if speed else "–/s", style="cyan")


@contextmanager
def progress(description: str, total: int, *, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Shows a bar on stderr; yields a function that takes the number of items done so far."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=error_console(), disable=not show) as shown:
        task = shown.add_task(one_line(description), total=total)
        yield lambda done: shown.update(task, completed=done)


@contextmanager
def waiting(description: str, *, show: bool = True) -> Iterator[None]:
    """Shows a spinner on stderr, for work of unknown length."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    out = error_console()
    with Progress(*columns, console=out, transient=True, disable=not (show and out.is_terminal)) as shown:
        shown.add_task(one_line(description), total=None)
        yield


@contextmanager
def say_if_stopped(sentence: Callable[[], str]) -> Iterator[None]:
    """Prints the sentence, unless it is empty, if an error or Ctrl-C ends the block."""
    try:
        yield
    except BaseException:
        if text := sentence():
            say(text, err=True)
        raise


@contextmanager
def encoding(*, show: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on stderr while the server encodes prompts; yields a function that takes the number of
    encoded prompts and their total. Shows nothing if all are encoded already."""
    with ExitStack() as shown:
        advance: Callable[[int], None] | None = None

        def tell(done: int, total: int) -> None:
            nonlocal advance
            if advance is None and done < total:
                description = "Encoding prompts, once for this model"
                advance = shown.enter_context(progress(description, total, show=show))
            if advance is not None:
                advance(done)

        yield tell


def per_second(count: int, seconds: float) -> float:
    """A rate; 0.0 if no time has passed."""
    return count / seconds if seconds else 0.0


def show_errors(failed: Sequence[tuple[str, ClipserveError]], *, more: str = "all with --json") -> None:
    """Prints the first LISTED_ERRORS failed items on stderr; `more` tells where the rest is."""
    out = error_console()
    for name, error in failed[:LISTED_ERRORS]:
        out.print(Text.assemble(("✗ ", "red"), name, (f"  {error.message}", "dim")))
    if len(failed) > LISTED_ERRORS:
        out.print(Text(f"… and {len(failed) - LISTED_ERRORS} more ({more})", style="dim"))


def error_facts(name: str, error: ClipserveError) -> dict[str, Any]:
    return {"name": name, "code": error.code, "reason": error.reason, "message": error.message}
