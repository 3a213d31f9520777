"""Output of the command: progress, the parity report and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from clipserve_exporter.export import Exported
    from clipserve_exporter.parity import Case
    from clipserve_exporter.text_length import TextLength
    from clipserve_exporter.text_speed import TextSpeed
    from clipserve_exporter.trial import Measurement, Trial


def trial_summary(trial: Trial) -> str:
    """Describes what a trial chose, and the best rates of other numbers of instances."""
    chosen = trial.chosen
    summary = (
        f"✓ chosen by a trial on this machine: {describe_instances(chosen)}, "
        f"batches of {trial.serving.image_batch}: "
        f"{chosen.rate:.3g} images/s; one image alone {trial.one_seconds * 1000:.0f} ms"
    )
    best: dict[int, Measurement] = {}
    for measured in sorted(trial.measurements, key=lambda measured: measured.rate):
        if measured.tower == "image" and measured.instances != chosen.instances:
            best[measured.instances] = measured
    return summary + "".join(
        f"; {describe_instances(one)}: {one.rate:.3g} images/s at best, in batches of {one.rows}"
        for _, one in sorted(best.items())
    )


def precision_summary(exported: Exported) -> str:
    """Describes the precision that was chosen, and why."""
    assert exported.chosen is not None, "chosen"
    lowest = min(case.min_cosine for case in exported.cases)
    return (
        f"✓ precision {exported.chosen.precision}, chosen: {exported.chosen.reason}; "
        f"lowest cosine to open_clip {lowest:.5f}"
    )


def text_summary(text_length: TextLength, speed: TextSpeed | None) -> str:
    """Describes the length at which texts are encoded, and what that gains."""
    if text_length.handling == "fixed":
        reason = f" ({text_length.reason})" if text_length.reason else ""
        return f"✓ texts: fixed, each at the full length{reason}"
    if speed is None:
        return f"✓ texts: {text_length.handling}, not padded to the full length"
    return (
        f"✓ texts: {text_length.handling}, {speed.factor:.1f} × the speed of full length "
        f"({speed.rows} texts of {speed.tokens} tokens)"
    )


def describe_instances(measured: Measurement) -> str:
    """Describes the number of instances and of their threads."""
    instances, threads = measured.instances, measured.threads
    return (
        f"{instances} instance{'s' if instances > 1 else ''} of {threads} thread{'s' if threads > 1 else ''}"
    )


class Report:
    """Progress on standard error, the parity report on standard output."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
            console=self._console, transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task("")
        self._cases: list[Case] = []

    def __enter__(self) -> Report:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()
        if self._cases:
            Console(highlight=False).print(self._table())

    def begin(self, step: str) -> None:
        """Shows that a step begins."""
        if step == "parity":
            # A chosen precision may have given way to another one.
            self._cases.clear()
        self._progress.update(self._task, description=step)
        if not self._console.is_terminal:
            self._say(f"· {step}")

    def compared(self, case: Case) -> None:
        """Shows a comparison with open_clip."""
        self._cases.append(case)
        self._progress.update(self._task, description=f"parity: {case.tower}, {case.what}")

    def measured(self, one: Measurement) -> None:
        """Shows a measurement of the trial."""
        what = f"{one.instances} × {one.threads} threads, batches of {one.rows}"
        self._progress.update(self._task, description=f"trial: {one.tower}, {what}")

    def finish(self, exported: Exported, seconds: float) -> None:
        """Shows the result of the export."""
        facts = exported.facts
        if exported.random:
            self._say(
                "! The weights are RANDOM: the embeddings are meaningless. Pass --pretrained.", "bold red"
            )
        for note in exported.notes:
            self._say(f"· {note}")
        for warning in exported.warnings:
            self._say(f"! {warning}.", "bold yellow")
        if exported.chosen is not None:
            self._say(precision_summary(exported))
        if exported.trial is not None:
            self._say(trial_summary(exported.trial))
            if exported.trial.busy:
                self._say(
                    "! Other programs were busy during the trial. Export again when this machine is idle.",
                    "bold",
                )
        if not exported.random:
            said = f" ({exported.license.source})" if exported.license.source else ""
            self._say(f"· license of the weights: {exported.license.words}{said}")
        self._say(text_summary(exported.text_length, exported.text_speed))
        for folder in exported.folders:
            self._say(f"✓ {folder}")
        self._say(f"✓ {exported.golden}: for `clipserve verify`, once the model is served")
        self._say(
            f"✓ {facts.name}: {facts.architecture}, weights {facts.pretrained}, "
            f"{facts.embed_dim} dimensions, {facts.precision}, {facts.format}, "
            f"fingerprint {facts.fingerprint[:12]}…, {seconds:.1f} s"
        )

    def _say(self, line: str, style: str = "") -> None:
        self._console.print(line, style=style, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(title="parity with open_clip (eager, fp32)")
        for column, align in (("tower", "left"), ("case", "left"), ("max abs diff", "right"),
                              ("min cosine", "right"), ("needed", "right"), ("", "left")):  # fmt: skip
            table.add_column(column, justify=align)  # type: ignore[arg-type]  # rich wants a Literal
        for case in self._cases:
            table.add_row(case.tower, case.what, f"{case.max_abs_diff:.2e}", f"{case.min_cosine:.7f}",
                          f"{case.bound}", "✓" if case.good else "✗")  # fmt: skip
        return table
