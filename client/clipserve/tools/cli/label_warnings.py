"""Notes and warnings about labels, with the lines that the labels come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click

from clipserve.labels import LabelSet
from clipserve.tools.cli.label_files import LabelFile
from clipserve.tools.cli.listed import PLACES, Place, joined
from clipserve.tools.cli.terminal import say
from clipserve.types import LabelWarning


def use_label_file(chosen: LabelFile, *, tell: bool) -> LabelSet:
    """The label set of the file. Later errors name its lines; `tell` prints its notes."""
    if tell:
        chosen.names.tell()
        chosen.templates.tell()
    click.get_current_context().meta[PLACES] = {
        "names": chosen.names.places,
        "templates": chosen.templates.places,
    }
    return chosen.labels


def show_warnings(warnings: Iterable[LabelWarning]) -> None:
    """Prints each warning on standard error, with the lines of its labels if they are known."""
    known: Mapping[str, Sequence[Place]] = click.get_current_context().meta.get(PLACES, {})
    places = known.get("names", ())
    for warning in warnings:
        where = joined(places[i] for i in warning.labels if i < len(places))
        more = warning.count - len(warning.labels)
        where += f" and {more} more" if where and more else ""
        say(f"Warning: {where}: {warning.message}" if where else f"Warning: {warning.message}", err=True)


def show_cut_prompts(count: int) -> None:
    if count:
        one, many = (
            "prompt is longer than the model reads; its",
            "prompts are longer than the model reads; their",
        )
        say(f"Warning: {count:,} {one if count == 1 else many} end was cut off", err=True)
