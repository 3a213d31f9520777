"""`clipserve embed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import numpy.typing as npt

from clipserve.client import Client
from clipserve.errors import ClipserveError
from clipserve.safe_text import json_text
from clipserve.tools.cli.common import expanded, say_skipped, unread_folders
from clipserve.tools.cli.errors import ITEMS_FAILED
from clipserve.tools.cli.listed import PLACES, entries, plain_lines
from clipserve.tools.cli.options import Server, model_option, server_options
from clipserve.tools.cli.output import error_facts, finite, print_json, progress, show_errors
from clipserve.tools.cli.paths import OutputFile
from clipserve.tools.cli.stdin import (
    FILE_OR_STDIN,
    PICTURES_OR_STDIN,
    TEXT_OR_STDIN,
    name_of,
    picture_input,
    text_of,
)
from clipserve.tools.cli.terminal import say
from clipserve.tools.indexing.facts import printable
from clipserve.types import EmbeddingFormat, ModelRef

SUFFIXES = (".npy", ".npz", ".json")


@dataclass(frozen=True)
class Embedded:
    """Embeddings of pictures and texts."""

    names: list[str]
    embeddings: npt.NDArray[Any]
    """As in EmbedResult."""
    format: EmbeddingFormat
    dimensions: int
    tokens: list[int]
    """Of each row; 0 for pictures."""
    model: ModelRef | None
    errors: dict[int, ClipserveError]
    """By row."""
    truncated: list[str]

    @property
    def failed(self) -> list[tuple[str, ClipserveError]]:
        return [(self.names[row], error) for row, error in self.errors.items()]

    @property
    def good(self) -> int:
        return len(self.names) - len(self.errors)


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=PICTURES_OR_STDIN)
@click.option(
    "--text",
    "-t",
    "texts",
    multiple=True,
    metavar="TEXT",
    type=TEXT_OR_STDIN,
    help="Text to embed, or - for standard input; repeatable.",
)
@click.option("--texts-file", type=FILE_OR_STDIN, help="File with one text to embed on each line.")
@click.option(
    "--out",
    "--output",
    "-o",
    "output",
    type=OutputFile(*SUFFIXES),
    help="File to write: .npy, .npz (with names) or .json.",
)
@click.option("--raw", is_flag=True, help="Do not L2-normalize the embeddings; only with formats of floats.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(get_args(EmbeddingFormat)),
    default="float32",
    show_default=True,
    help="Numbers of the embeddings. int8 and uint8 have a quarter of the bytes, binary and ubinary 1/32.",
)
@click.option(
    "--dimensions",
    type=click.IntRange(1),
    help="How many of the first dimensions to write, normalized again.  [default: all]",
)
@click.option(
    "--allow-truncation",
    is_flag=True,
    help="Allow --dimensions that the model was not trained for; the embeddings then lose more.",
)
@model_option
@server_options
def embed(
    images: tuple[Path, ...],
    texts: tuple[str, ...],
    texts_file: Path | None,
    output: Path | None,
    raw: bool,
    format_: EmbeddingFormat,
    dimensions: int | None,
    allow_truncation: bool,
    model: str,
    server: Server,
) -> None:
    """Turn pictures and texts into embeddings. An IMAGE is a file, a folder, or - for standard input.

    The rows of the result are the pictures in the given order, then the texts. Rows that failed are NaN in
    .npy and .npz files (0 in formats of integers and bits), and null with their error in JSON. If every row
    failed, no file is written.

    \b
    Examples:
      clipserve embed photos/ -o photos.npz
      clipserve embed cat.jpg --text "a cat" --json
      clipserve embed --texts-file captions.txt -o captions.npy
      clipserve embed photos/ --format int8 -o photos.npz
      cut -f2 captions.tsv | clipserve embed --texts-file - -o captions.npy
    """
    if output is None and not server.as_json:
        raise click.UsageError("give --out FILE.npz to write the embeddings, or --json to print them")
    files, skipped = expanded(images)
    listed = entries(texts, "--text", "text")
    if texts_file is not None:
        listed += plain_lines(text_of(texts_file), name_of(texts_file))
    lines = list(listed.texts)
    click.get_current_context().meta[PLACES] = {"texts": listed.places}
    if not files and not lines:
        raise click.UsageError("there is nothing to embed; give pictures, --text or --texts-file")
    with server.client(job=True) as client:
        form: dict[str, Any] = {
            "normalize": not raw,
            "format": format_,
            "dimensions": dimensions,
            "allow_truncation": allow_truncation,
        }
        embedded = embed_all(client, files, lines, {"model": model, **form}, show=not server.as_json)
    if output is not None and embedded.good:
        write(embedded, output)
    failed = embedded.failed + unread_folders(skipped)
    if server.as_json:
        written = {"written": embedded.good if output else 0} | skipped.facts()
        print_json(document(embedded, failed, with_embeddings=output is None) | written)
    else:
        show_errors(failed)
        for text in embedded.truncated:
            say(f"longer than the model reads, its end was cut off: {text[:60]}…", err=True)
        say_skipped(skipped)
        say(summary(embedded, output), err=not embedded.good)
    if failed:
        raise SystemExit(ITEMS_FAILED)


def summary(embedded: Embedded, output: Path | None) -> str:
    """A sentence that tells how many rows were written and how many of them failed."""
    rows = len(embedded.names)
    if not embedded.good:
        return f"wrote nothing to {output}: every input failed"
    empty = "NaN" if embedded.embeddings.dtype.kind == "f" else "0"
    failed = f"; {rows - embedded.good:,} failed, their rows are {empty}" if embedded.errors else ""
    form = "" if embedded.format == "float32" else f" {embedded.format}"
    return f"wrote {embedded.good:,} × {embedded.dimensions}{form} embeddings to {output}{failed}"


def embed_all(
    client: Client, files: list[Path], lines: list[str], form: dict[str, Any], *, show: bool
) -> Embedded:
    """The embeddings; `form` are more arguments of `embed_images` and `embed_texts`."""
    names = [*map(printable, files), *lines]
    results = []
    with progress("Embedding", len(names), show=show) as advance:
        if files:
            results.append(
                client.embed_images(
                    [picture_input(file) for file in files], **form, on_error="return", progress=advance
                )
            )
        if lines:
            results.append(
                client.embed_texts(
                    lines,
                    **form,
                    on_error="return",
                    progress=lambda done: advance(len(files) + done),
                )
            )
    starts = [0, len(files)] if files else [0]
    placed = list(zip(starts, results, strict=False))
    return Embedded(
        names=names,
        embeddings=np.concatenate([result.embeddings for result in results]),
        format=form["format"],
        dimensions=results[0].dimensions,
        tokens=[count for result in results for count in result.tokens],
        model=next((result.model for result in results if result.model), None),
        errors={start + i: error for start, result in placed for i, error in result.errors.items()},
        truncated=[names[start + i] for start, result in placed for i in result.truncated],
    )


def write(embedded: Embedded, path: Path) -> None:
    """Writes the rows; .npz and .json files also have names, model and format."""
    if path.suffix == ".npy":
        np.save(path, embedded.embeddings)
    elif path.suffix == ".npz":
        np.savez_compressed(
            path,
            embeddings=embedded.embeddings,
            names=np.array(embedded.names),
            format=np.array(embedded.format),
            model=np.array(embedded.model.name if embedded.model else ""),
            fingerprint=np.array(embedded.model.fingerprint if embedded.model else ""),
        )
    else:
        path.write_text(json_text(finite(document(embedded, embedded.failed))), encoding="utf-8")


def numbers(row: npt.NDArray[Any]) -> list[float] | list[int]:
    """A row for JSON. Of floats, no more digits than are needed to read them again."""
    if row.dtype.kind == "f":
        return [float(f"{value:.9g}") for value in row]
    return [int(value) for value in row]


def document(
    embedded: Embedded, failed: Sequence[tuple[str, ClipserveError]], *, with_embeddings: bool = True
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(embedded.names):
        row: dict[str, Any] = {"name": name}
        if with_embeddings:
            row["embedding"] = None if i in embedded.errors else numbers(embedded.embeddings[i])
        if embedded.tokens[i]:
            row["tokens"] = embedded.tokens[i]
        if i in embedded.errors:
            row["error"] = error_facts(name, embedded.errors[i])
        rows.append(row)
    return {
        "model": embedded.model.name if embedded.model else None,
        "fingerprint": embedded.model.fingerprint if embedded.model else None,
        "dim": embedded.dimensions,
        "format": embedded.format,
        "truncated": embedded.truncated,
        "errors": [error_facts(name, error) for name, error in failed],
        "rows": rows,
    }
