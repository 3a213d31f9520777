"""`clipserve classify`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click
from rich.text import Text

from clipserve.errors import Unimplemented
from clipserve.labels import NAMES, NoneOfTheAbove
from clipserve.tools.cli.common import expanded, read_labels, say_passed_over, shown, unread_folders
from clipserve.tools.cli.errors import ITEMS_FAILED
from clipserve.tools.cli.label_notes import show_cut_prompts, show_warnings, use
from clipserve.tools.cli.options import Server, model_option, server_options, template_option
from clipserve.tools.cli.output import (
    bar,
    encoding,
    error_facts,
    number,
    percent,
    print_json,
    progress,
    show_errors,
)
from clipserve.tools.cli.stdin import FILE_OR_STDIN, LIST_OR_STDIN, PICTURES_OR_STDIN, picture_input
from clipserve.tools.cli.terminal import console, say, table
from clipserve.types import ClassifyResult, LabelScore

ALL = 2**31 - 1
"""More labels than there are: all of them."""
MANY = 1_000
"""Prompts that take a server long enough for a person to wonder. Of a stored label set they are not known."""


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=PICTURES_OR_STDIN)
@click.option(
    "--labels",
    "-l",
    multiple=True,
    metavar="A,B,C",
    type=LIST_OR_STDIN,
    help="Labels, with commas between; one in quotes may hold commas: '\"salt, pepper\",cat'. - reads them "
    "from standard input, one a line.",
)
@click.option(
    "--labels-file", type=FILE_OR_STDIN, help="Labels, one a line, or JSON; as `clipserve labels put` reads."
)
@click.option(
    "--label-set",
    metavar="NAME[@VERSION]",
    help=f"Labels and templates: {' or '.join(NAMES)}, which come along, or a set that the server keeps.",
)
@template_option
@click.option("--none", is_flag=True, help="Offer `none of the above` too, for pictures that no label fits.")
@click.option(
    "--top", "-k", default=5, show_default=True, type=click.IntRange(0), help="Labels to show; 0: all."
)
@click.option(
    "--mode",
    type=click.Choice(["softmax", "independent"]),
    default="softmax",
    show_default=True,
    help="One label is right, or any number of them.",
)
@click.option(
    "--threshold", type=click.FloatRange(-1, 1), help="Cosine from which a label counts as present."
)
@model_option
@server_options
def classify(
    images: tuple[Path, ...],
    labels: tuple[str, ...],
    labels_file: Path | None,
    label_set: str | None,
    templates: tuple[str, ...],
    none: bool,
    top: int,
    mode: Literal["softmax", "independent"],
    threshold: float | None,
    model: str,
    server: Server,
) -> None:
    """Name what pictures show. An IMAGE is a file, a folder of files, or - for standard input.

    Label sets that come along are cifar10 and imagenet1k. Any other name, and any name with a version, is
    one that the server keeps: `clipserve labels` lists those, and puts them there. They have their own
    templates and thresholds.

    \b
    Examples:
      clipserve classify cat.jpg --labels "cat,dog,bird"
      clipserve classify photos/ --labels "cat,dog,bird" --none
      clipserve classify photos/ --label-set imagenet1k -k 3
      clipserve classify photos/ --label-set birds@2
      clipserve classify a.jpg b.jpg --labels-file birds.txt -t "a photo of a {}, a type of bird."
      clipserve classify cat.jpg --labels "indoors,furry,blue" --mode independent --threshold 0.2
      curl -s https://example.com/cat.jpg | clipserve classify - --labels "cat,dog,bird"
    """
    chosen = read_labels(labels, labels_file, label_set, templates)
    given, stored = (
        (None, chosen) if isinstance(chosen, str) else (use(chosen, tell=not server.as_json), None)
    )
    if stored and (templates or threshold is not None or none):
        what = (
            "says itself whether none of the above is offered"
            if none
            else "has its own templates and thresholds"
        )
        raise click.UsageError(f"label set {stored} {what}, on the server")
    if given and none:
        given = dataclasses.replace(given, none_of_the_above=NoneOfTheAbove())
    files, passed_over = expanded(images)
    unread = unread_folders(passed_over)
    with server.client() as client:
        prompts = len(given.names) * max(1, len(given.templates)) if given else MANY + 1
        if prompts > MANY and not server.as_json:
            # An older server encodes them for the first picture.
            with contextlib.suppress(Unimplemented), encoding() as tell:
                encoded = client.prepare_labels(given, label_set=stored, model=model, progress=tell)
                if encoded and label_set is None:
                    say("`clipserve labels put NAME FILE` keeps such labels encoded on the server", err=True)
        with progress("Classifying", len(files), show=len(files) > 16 and not server.as_json) as advance:
            result = client.classify(
                [picture_input(file) for file in files],
                given,
                label_set=stored,
                top_k=top or ALL,
                mode=mode,
                thresholds=threshold,
                model=model,
                on_error="return",
                progress=advance,
            )
    failed = unread + [(shown(files[i]), error) for i, error in result.errors.items()]
    if server.as_json:
        rows = [{"image": name, "error": error_facts(name, error)} for name, error in unread]
        print_json(document(files, result, rows) | passed_over.facts())
    else:
        show_warnings(result.warnings)
        show_cut_prompts(result.truncated_prompts)
        show(files, result)
        show_errors(failed)
        say_passed_over(passed_over)
    if failed:
        raise SystemExit(ITEMS_FAILED)


def document(
    files: Sequence[Path], result: ClassifyResult, unread: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The result for machines; rows of folders that could not be read come first."""
    rows = list(unread)
    for file, item in zip(files, result, strict=True):
        if item.error is not None:
            rows.append({"image": shown(file), "error": error_facts(shown(file), item.error)})
            continue
        scores = [
            {
                "label": score.label,
                "probability": score.probability,
                "cosine": score.cosine,
                "above_threshold": score.above_threshold,
            }
            for score in item.scores
        ]
        rows.append({"image": shown(file), "labels": scores})
    model = result.model
    return {
        "model": model.name if model else None,
        "fingerprint": model.fingerprint if model else None,
        "label_set": result.label_set,
        "mode": result.mode,
        "truncated_prompts": result.truncated_prompts,
        "warnings": [asdict(warning) for warning in result.warnings],
        "results": rows,
    }


def show(files: Sequence[Path], result: ClassifyResult) -> None:
    """A few lines for each picture."""
    made = table("image", "label", ("probability", "right"), "", ("cosine", "right"))
    for file, item in zip(files, result, strict=True):
        if item.scores and made.row_count:
            made.add_row()
        for rank, score in enumerate(item.scores):
            made.add_row(
                Text(shown(file) if rank == 0 else ""),
                Text(verdict(score) + score.label, "bold" if rank == 0 else ""),
                percent(score.probability),
                bar(score.cosine if score.probability is None else score.probability),
                number(score.cosine),
            )
    if made.row_count:
        console().print(made)


def verdict(score: LabelScore) -> str:
    """A mark before labels that have a threshold."""
    return {None: "", True: "✓ ", False: "· "}[score.above_threshold]
