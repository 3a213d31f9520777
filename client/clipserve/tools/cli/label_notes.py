"""What a person should know of labels, with the lines that they stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click

from clipserve.labels import LabelSet
from clipserve.tools.cli.label_files import LabelFile
from clipserve.tools.cli.listed import PLACES, Place, joined
from clipserve.tools.cli.terminal import say
from clipserve.types import LabelWarning


def use(chosen: LabelFile, *, tell: bool) -> LabelSet:
    """The label set. Errors of the server name its lines from here on; `tell` prints its notes."""
    if tell:
        chosen.names.tell()
        chosen.templates.tell()
    click.get_current_context().meta[PLACES] = {
        "names": chosen.names.places,
        "templates": chosen.templates.places,
    }
    return chosen.labels


def show_warnings(found: Iterable[LabelWarning]) -> None:
    """A line for each warning, on standard error, with the places of its labels as far as they are known."""
    known: Mapping[str, Sequence[Place]] = click.get_current_context().meta.get(PLACES, {})
    places = known.get("names", ())
    for warning in found:
        where = joined(places[i] for i in warning.labels if i < len(places))
        more = warning.count - len(warning.labels)
        where += f" and {more} more" if where and more else ""
        say(f"Warning: {where}: {warning.message}" if where else f"Warning: {warning.message}", err=True)


def show_cut_prompts(count: int) -> None:
    """How many prompts lost their end, on standard error."""
    if count:
        verb = "prompt was too long for the model and lost its end"
        many = "prompts were too long for the model and lost their end"
        say(f"Warning: {count:,} {verb if count == 1 else many}", err=True)
