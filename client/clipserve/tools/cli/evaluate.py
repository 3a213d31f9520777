"""`clipserve evaluate`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import click
from rich.text import Text

from clipserve.tools.cli.common import given_templates
from clipserve.tools.cli.errors import ITEMS_FAILED
from clipserve.tools.cli.label_warnings import show_cut_prompts, show_warnings
from clipserve.tools.cli.listed import PLACES
from clipserve.tools.cli.options import Server, model_option, server_options, template_option
from clipserve.tools.cli.output import bar, encoding, percent, print_json, progress, waiting
from clipserve.tools.cli.paths import ExistingPath, OutputFile
from clipserve.tools.cli.stdin import FILE_OR_STDIN, file_of
from clipserve.tools.cli.terminal import console, error_console, say, table
from clipserve.tools.evaluation.cifar import load_cifar10, load_cifar100
from clipserve.tools.evaluation.dataset import Dataset, shortened
from clipserve.tools.evaluation.folder import load_folder
from clipserve.tools.evaluation.imagenet import load_imagenet
from clipserve.tools.evaluation.predictions import SUFFIXES as PREDICTION_SUFFIXES
from clipserve.tools.evaluation.predictions import write_predictions
from clipserve.tools.evaluation.report import SUFFIXES as REPORT_SUFFIXES
from clipserve.tools.evaluation.report import write_report
from clipserve.tools.evaluation.run import Evaluation, Evaluator

LISTED = 20


@click.command()
@click.argument("dataset", type=click.Choice(["cifar10", "cifar100", "imagenet", "folder"]))
@click.option(
    "--data",
    required=True,
    type=ExistingPath(path_type=Path, exists=True),
    help="Folder or file of the data set.",
)
@click.option("--split", default="", metavar="NAME", help="Split of the data set.  [default: test, or val]")
@click.option(
    "--ground-truth", type=FILE_OR_STDIN, help="imagenet: file with the labels of a flat folder of pictures."
)
@click.option(
    "--names", type=FILE_OR_STDIN, help="folder: file with a folder and the name of its class on each line."
)
@template_option
@click.option(
    "--templates-file", "--templates", type=FILE_OR_STDIN, help="File with one prompt template a line."
)
@click.option(
    "--limit", "-n", type=click.IntRange(1), help="Maximum number of pictures, evenly spread over the set."
)
@click.option(
    "--report",
    "report_file",
    type=OutputFile(*REPORT_SUFFIXES),
    help="Write a report with the confusion matrix to a .html or .png file.",
)
@click.option(
    "--predictions",
    "predictions_file",
    type=OutputFile(*PREDICTION_SUFFIXES),
    help="Write the result of each picture to a .csv or .npz file.",
)
@model_option
@server_options
def evaluate(
    dataset: str,
    data: Path,
    split: str,
    ground_truth: Path | None,
    names: Path | None,
    templates: tuple[str, ...],
    templates_file: Path | None,
    limit: int | None,
    report_file: Path | None,
    predictions_file: Path | None,
    model: str,
    server: Server,
) -> None:
    """Measure zero-shot accuracy on a labelled set of pictures.

    \b
    cifar10   Python or binary batches, archives of them, .npz, .npy, Parquet or Arrow files,
              or a folder for each class; also CIFAR-10.1
    cifar100  the same formats; the classes are the 100 fine labels
    imagenet  folders named n01440764 …, or the flat validation set with a list of labels
    folder    a folder for each class, with the name of the class

    cifar10, cifar100 and imagenet use the 18, 18 and 80 templates that were published with CLIP. The command
    first tells what it read and what it skipped.

    \b
    Examples:
      clipserve evaluate cifar10 --data cifar-10-batches-py --report cifar10.html
      clipserve evaluate imagenet --data ILSVRC2012/val --limit 5000 --predictions out.csv
      clipserve evaluate folder --data birds/ -t "a photo of a {}, a type of bird."
    """
    prompts = given_templates(templates, templates_file)
    if not server.as_json:
        prompts.tell()
    click.get_current_context().meta[PLACES] = {"templates": prompts.places}
    loaders: dict[str, Callable[[], Dataset]] = {
        "cifar10": lambda: load_cifar10(data, split),
        "cifar100": lambda: load_cifar100(data, split),
        "imagenet": lambda: load_imagenet(data, split, ground_truth),
        "folder": lambda: load_folder(data, split, names),
    }
    with waiting(f"Reading {data}", show=not server.as_json), contextlib.ExitStack() as files:
        ground_truth, names = (path and files.enter_context(file_of(path)) for path in (ground_truth, names))
        whole = loaders[dataset]()
    chosen = whole.limited(limit)
    if not server.as_json:
        for sentence in whole.sentences():
            say(sentence, err=True)
    with server.client(job=True) as client:
        evaluator = Evaluator(client, chosen, templates=prompts.texts, model=model)
        with encoding(show=not server.as_json) as tell:
            evaluator.encode_labels(tell)
        with progress("Classifying", len(chosen.samples), show=not server.as_json) as advance:
            result = evaluator.run(advance)
    if not server.as_json:
        show_warnings(result.warnings)
        show_cut_prompts(result.truncated_prompts)
    if report_file is not None:
        write_report(result, report_file)
    if predictions_file is not None:
        write_predictions(result, predictions_file)
    if server.as_json:
        print_json(result.summary() | whole.facts())
    else:
        show(result)
        show_failed(result)
        for written in filter(None, (report_file, predictions_file)):
            say(f"wrote {written}")
    if result.tally.failed or whole.account.lost_classes:
        raise SystemExit(ITEMS_FAILED)


def show(result: Evaluation) -> None:
    """Prints accuracies, then classes (if there are many, the hardest), then mistakes."""
    out, tally = console(), result.tally
    setting = f" with model {result.model.name}, {len(result.templates)} templates"
    out.print(Text.assemble((result.dataset, "bold"), setting))
    out.print()
    headline = table(("top-1", "right"), ("top-5", "right"), ("images", "right"), ("images/s", "right"))
    headline.add_row(
        Text(percent(tally.accuracy), "bold"),
        Text(percent(tally.accuracy5), "bold"),
        f"{tally.answered:,}",
        f"{result.images_per_second:,.1f}",
    )
    out.print(headline)
    rows = tally.per_class()
    title = "\nclasses"
    if len(rows) > LISTED:
        rows = [row for row in rows if row["images"]]
        rows = sorted(rows, key=lambda row: (row["top1"], row["top5"]))[:LISTED]
        title = f"\nthe {min(LISTED, len(rows))} hardest classes"
    classes = table("class", ("images", "right"), ("top-1", "right"), "", ("top-5", "right"), title=title)
    for row in rows:
        top1, top5 = row["top1"], row["top5"]
        drawn = bar(top1) if row["images"] else ""
        classes.add_row(Text(row["class"]), f"{row['images']:,}", percent(top1), drawn, percent(top5))
    out.print(classes)
    mistakes = table("shows", "named", ("images", "right"), title="\nmost frequent mistakes")
    for mistake in tally.confusions(10):
        mistakes.add_row(Text(mistake["class"]), Text(mistake["predicted"]), f"{mistake['images']:,}")
    if mistakes.row_count:
        out.print(mistakes)


def show_failed(result: Evaluation) -> None:
    failed = [prediction for prediction in result.predictions if prediction.error]
    for prediction in failed[:LISTED]:
        error_console().print(Text.assemble(("✗ ", "red"), prediction.name, (f"  {prediction.error}", "dim")))
    if failed:
        say(f"{len(failed):,} pictures failed; the accuracy does not count them", err=True)
    if result.unread_classes:
        say(f"classes without a readable picture: {shortened(result.unread_classes)}", err=True)
