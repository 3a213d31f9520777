"""Numbers for people, JSON for machines, progress on stderr."""

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
from clipserve.tools.cli.terminal import error_console

LISTED_ERRORS = 20


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout; what is no number becomes null."""
    click.echo(json_text(finite(document), indent=2))


def finite(value: Any) -> Any:
    """The value without NaN and infinities, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def bar(share: float, width: int = 16) -> Text:
    """A share, 0 … 1, as a bar."""
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    drawn = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return Text(drawn.ljust(width), style="cyan")


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash for none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share in percent, or a dash for none."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


class Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        """The current rate, or the whole run's when it is over."""
        # Rich leaves the time before the first step out: of a few large steps it tells far too high a rate.
        speed = task.completed / task.finished_time if task.finished_time else task.speed
        return Text(f"{speed:,.1f}/s" if speed else "–/s", style="cyan")


@contextmanager
def progress(description: str, total: int, *, show: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar with rate and remaining time on stderr; yields a function that takes the number done so far."""
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
    """A spinner on stderr while something of unknown length goes on."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    out = error_console()
    with Progress(*columns, console=out, transient=True, disable=not (show and out.is_terminal)) as shown:
        shown.add_task(one_line(description), total=None)
        yield


@contextmanager
def encoding(*, show: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr where prompts have to be encoded; yields a function that takes how many of how many
    are known. Nothing is shown where all were known."""
    with ExitStack() as shown:
        advance: Callable[[int], None] | None = None

        def tell(done: int, total: int) -> None:
            nonlocal advance
            if advance is None and done < total:
                words = "Encoding prompts, once for this model"
                advance = shown.enter_context(progress(words, total, show=show))
            if advance is not None:
                advance(done)

        yield tell


def per_second(count: int, seconds: float) -> float:
    """A rate; 0.0 where no time has passed."""
    return count / seconds if seconds else 0.0


def show_errors(failed: Sequence[tuple[str, ClipserveError]], *, more: str = "all with --json") -> None:
    """What failed and why, on stderr, as far as a person wants to read it; `more` says where the rest is."""
    out = error_console()
    for name, error in failed[:LISTED_ERRORS]:
        out.print(Text.assemble(("✗ ", "red"), name, (f"  {error.message}", "dim")))
    if len(failed) > LISTED_ERRORS:
        out.print(Text(f"… and {len(failed) - LISTED_ERRORS} more ({more})", style="dim"))


def error_facts(name: str, error: ClipserveError) -> dict[str, Any]:
    """A failed item for JSON."""
    return {"name": name, "code": error.code, "reason": error.reason, "message": error.message}
