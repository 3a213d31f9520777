"""What the command line prints while it works."""

from __future__ import annotations

from clipserve.cli.output import Rate
from rich.console import Console
from rich.progress import Progress


def test_the_rate_of_a_whole_run_counts_the_time_before_its_first_step():
    clock = [0.0]
    shown = Progress(Rate(), console=Console(quiet=True), get_time=lambda: clock[0])
    task = shown.add_task("Indexing", total=200)
    for clock[0], done in ((9.0, 100), (10.0, 200)):
        shown.update(task, completed=done)
    assert Rate().render(shown.tasks[0]).plain == "20.0/s"
