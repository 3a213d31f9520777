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
from clipserve.tools.cli.common import expanded, read_labels, say_skipped, unread_folders
from clipserve.tools.cli.errors import ITEMS_FAILED
from clipserve.tools.cli.label_warnings import show_cut_prompts, show_warnings, use_label_file
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
from clipserve.tools.indexing.facts import printable
from clipserve.types import ClassifyResult, LabelScore

ALL_LABELS = 2**31 - 1
"""As --top 0 is sent: all labels."""
MANY_PROMPTS = 1_000
"""More prompts than this are encoded before the first picture, with a progress bar."""


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=PICTURES_OR_STDIN)
@click.option(
    "--labels",
    "-l",
    multiple=True,
    metavar="A,B,C",
    type=LIST_OR_STDIN,
    help="Labels, separated by commas. Quote a label with commas: '\"salt, pepper\",cat'. - reads one label "
    "a line from standard input.",
)
@click.option(
    "--labels-file",
    type=FILE_OR_STDIN,
    help="File with one label a line, or JSON; see `clipserve labels put`.",
)
@click.option(
    "--label-set",
    metavar="NAME[@VERSION]",
    help=f"Stored label set, or {' or '.join(NAMES)}, which come with this command.",
)
@template_option
@click.option(
    "--none", is_flag=True, help="Add the label `none of the above`, for pictures that no label fits."
)
@click.option(
    "--top", "-k", default=5, show_default=True, type=click.IntRange(0), help="Labels to show; 0 shows all."
)
@click.option(
    "--mode",
    type=click.Choice(["softmax", "independent"]),
    help="softmax: one label applies, and the probabilities of all labels add up to 100 %. independent: any "
    "number of labels apply, and each has its own probability, if the model was trained with a sigmoid.  "
    "[default: as the model was trained]",
)
@click.option(
    "--threshold", type=click.FloatRange(-1, 1), help="Mark a label ✓ if its cosine is at least this."
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
    mode: Literal["softmax", "independent"] | None,
    threshold: float | None,
    model: str,
    server: Server,
) -> None:
    """Name what pictures show. An IMAGE is a file, a folder of files, or - for standard input.

    Models that are trained with a sigmoid, such as SigLIP, score each label alone: the probabilities say how
    well a label fits, whatever the other labels are, and do not add up to 100 %. Those of all labels can be
    small; compare them with each other.

    The label sets cifar10 and imagenet1k come with this command. Any other name, and any name with a version,
    is a label set stored on the server: `clipserve labels` lists and stores them. Stored sets have their own
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
        (None, chosen) if isinstance(chosen, str) else (use_label_file(chosen, tell=not server.as_json), None)
    )
    if stored and (templates or threshold is not None or none):
        option = "--none" if none else "--template" if templates else "--threshold"
        raise click.UsageError(
            f"{option} does not apply to the stored label set {stored}, which has its own; leave it out"
        )
    if given and none:
        given = dataclasses.replace(given, none_of_the_above=NoneOfTheAbove())
    files, skipped = expanded(images)
    unread = unread_folders(skipped)
    with server.client() as client:
        prompts = len(given.names) * max(1, len(given.templates)) if given else MANY_PROMPTS + 1
        if prompts > MANY_PROMPTS and not server.as_json:
            # An older server encodes them for the first picture.
            with contextlib.suppress(Unimplemented), encoding() as tell:
                encoded = client.prepare_labels(given, label_set=stored, model=model, progress=tell)
                if encoded and label_set is None:
                    say(
                        "to keep these labels encoded on the server: `clipserve labels put NAME FILE`",
                        err=True,
                    )
        with progress("Classifying", len(files), show=len(files) > 16 and not server.as_json) as advance:
            result = client.classify(
                [picture_input(file) for file in files],
                given,
                label_set=stored,
                top_k=top or ALL_LABELS,
                mode=mode,
                thresholds=threshold,
                model=model,
                on_error="return",
                progress=advance,
            )
    failed = unread + [(printable(files[i]), error) for i, error in result.errors.items()]
    if server.as_json:
        rows = [{"image": name, "error": error_facts(name, error)} for name, error in unread]
        print_json(document(files, result, rows) | skipped.facts())
    else:
        show_warnings(result.warnings)
        show_cut_prompts(result.truncated_prompts)
        show(files, result)
        show_errors(failed)
        say_skipped(skipped)
    if failed:
        raise SystemExit(ITEMS_FAILED)


def document(
    files: Sequence[Path], result: ClassifyResult, unread: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The result as a JSON document; unreadable folders come first."""
    rows = list(unread)
    for file, item in zip(files, result, strict=True):
        if item.error is not None:
            rows.append({"image": printable(file), "error": error_facts(printable(file), item.error)})
            continue
        scores = [asdict(score) for score in item.scores]
        for score in scores:
            del score["index"]
        rows.append({"image": printable(file), "labels": scores})
    model = result.model
    return {
        "model": model.name if model else None,
        "fingerprint": model.fingerprint if model else None,
        "label_set": result.label_set,
        "mode": result.mode,
        "score": result.score,
        "truncated_prompts": result.truncated_prompts,
        "warnings": [asdict(warning) for warning in result.warnings],
        "results": rows,
    }


def show(files: Sequence[Path], result: ClassifyResult) -> None:
    sigmoid = result.score == "sigmoid"
    heading = "probability (sigmoid)" if sigmoid else "probability"
    rows_ = table("image", "label", (heading, "right"), "", ("cosine", "right"))
    for file, item in zip(files, result, strict=True):
        if item.scores and rows_.row_count:
            rows_.add_row()
        for rank, score in enumerate(item.scores):
            rows_.add_row(
                Text(printable(file) if rank == 0 else ""),
                Text(verdict(score) + score.label, "bold" if rank == 0 else ""),
                small_percent(score.probability) if sigmoid else percent(score.probability),
                bar(score.cosine if score.probability is None else score.probability),
                number(score.cosine),
            )
    if rows_.row_count:
        console().print(rows_)


def small_percent(value: float | None) -> str:
    """A share in percent, with two significant digits if it is small: of sigmoids, all may be."""
    return f"{100 * value:.2g} %" if value and value < 0.001 else percent(value)


def verdict(score: LabelScore) -> str:
    """The mark in front of a label with a threshold: ✓ if it is present."""
    return {None: "", True: "✓ ", False: "· "}[score.above_threshold]
