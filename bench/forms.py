"""Measures what small embeddings lose: int8, bits and the first dimensions, on pictures and texts.

\b
python -m bench.forms --target localhost:8600 --cifar10 cifar-10-batches-py --out bench/results/forms.json
python -m bench.forms show bench/results/forms.json

Runs against a server with any model. The server embeds everything once as float32; the gateway's functions
make the other forms of it. Of some pictures and texts the server is asked for every form too, and must send
the same numbers. Queries and stored embeddings have the same form. Their scores are dot products, of bits
with 1 and −1, which order as Hamming distances do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from clipserve import Client, EmbeddingFormat, dequantize, label_set
from clipserve.tools.evaluation.cifar import load_cifar10
from clipserve.wire.embeddings import FORMATS, read_row, row_bytes
from clipserve_gateway.convert.embedding import write_embedding

DEMO = Path(__file__).parents[1] / "demo"
SHOWN: tuple[EmbeddingFormat, ...] = ("float32", "float16", "int8", "binary")
"""uint8 stands for the same numbers as int8, and ubinary as binary."""
SAME = {"int8": "int8, uint8", "binary": "binary, ubinary"}
FRACTIONS = (1, 2, 4)
"""Of the dimensions."""
PICTURE_QUERIES = 1_000
NEAREST = 10
CANDIDATES = 100
"""From which an exact second look would choose the nearest."""
CHECKED = 16
"""Pictures and texts that the server embeds in every form."""
EQUAL_SHARE = 0.99
"""Of the server's numbers; the others are rounded differently, because batches differ in the last bits."""

Facts = dict[str, Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Collection:
    """Embeddings to search: float32 [N, D], of length 1."""

    name: str
    pictures: Floats
    texts: Floats


@click.group(invoke_without_command=True, help=__doc__)
@click.option("--target", default="localhost:8600", show_default=True, help="The server.")
@click.option("--cifar10", type=click.Path(path_type=Path, exists=True), help="CIFAR-10, in any layout.")
@click.option("--limit", default=10_000, show_default=True, help="Pictures of CIFAR-10's test split.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("forms.json"), show_default=True)
@click.pass_context
def main(context: click.Context, target: str, cifar10: Path | None, limit: int, out: Path) -> None:
    """See above."""
    if context.invoked_subcommand:
        return
    with Client(target, priority="bulk", timeout=120) as client:
        info = client.info()
        facts: Facts = {"model": info.default_model, "equal_share": 1.0, "collections": []}
        for name, images, texts in sources(cifar10, limit):
            click.echo(f"· {name}: {len(images):,} pictures, {len(texts):,} texts", err=True)
            pictures = client.embed_images(images).embeddings
            collection = Collection(name, pictures, client.embed_texts(texts).embeddings)
            facts["collections"].append(measure(collection))
            share = equal_share(client, images[:CHECKED], texts[:CHECKED])
            facts["equal_share"] = min(facts["equal_share"], share)
    out.write_text(json.dumps(facts, indent=1) + "\n")
    click.echo(tables(facts))
    if facts["equal_share"] < EQUAL_SHARE:
        raise click.ClickException(f"only {facts['equal_share']:.1%} of the server's numbers are these")


@main.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
def show(file: Path) -> None:
    """Prints the figures of a file."""
    click.echo(tables(json.loads(file.read_text())))


def sources(cifar10: Path | None, limit: int) -> Iterator[tuple[str, Sequence[Any], list[str]]]:
    """Name, pictures and texts of each collection."""
    files = sorted((DEMO / "pictures").glob("*.jpg"))
    yield "demo pictures", files, [f"a photo of a {file.stem.replace('-', ' ')}." for file in files]
    if cifar10 is not None:
        test_split = load_cifar10(cifar10, "test").limited(limit)
        labels = label_set("cifar10")
        texts = [template.format(name) for name in labels.names for template in labels.templates]
        yield "CIFAR-10 test", [sample.image for sample in test_split.samples], texts


def measure(collection: Collection) -> Facts:
    """What each form of a collection's embeddings keeps."""
    whole = collection.pictures
    queries = {"picture": whole[:PICTURE_QUERIES], "text": collection.texts}
    exact = {kind: ranked(rows, whole, itself=kind == "picture") for kind, rows in queries.items()}
    rows = []
    for fraction in FRACTIONS:
        dim = whole.shape[1] // fraction
        for format in SHOWN if fraction == 1 else ("float32", "int8", "binary"):
            small = in_form(whole, format, dim)
            row: Facts = {"format": format, "dimensions": dim, "bytes": row_bytes(dim, format)}
            row |= cosines(small, whole)
            for kind, given in queries.items():
                nearest = ranked(in_form(given, format, dim), small, itself=kind == "picture")
                row[f"{kind}_recall"] = recall(exact[kind], nearest, NEAREST)
                row[f"{kind}_candidates"] = recall(exact[kind], nearest, CANDIDATES)
            rows.append(row)
    return {
        "name": collection.name,
        "pictures": len(whole),
        "picture_queries": len(queries["picture"]),
        "text_queries": len(queries["text"]),
        "forms": rows,
    }


def in_form(rows: Floats, format: EmbeddingFormat, dim: int) -> Floats:
    """What the first dimensions of these embeddings stand for in a form: float32 [N, dim]."""
    first = rows[:, :dim] / np.linalg.norm(rows[:, :dim], axis=1, keepdims=True)
    messages = [write_embedding(row, FORMATS[format]) for row in first.astype(np.float32)]
    return dequantize(np.stack([read_row(message, format, dim) for message in messages]), format)


def cosines(small: Floats, whole: Floats) -> Facts:
    """Mean and lowest cosine with the whole embeddings; missing dimensions count as 0."""
    dots = np.einsum("nd,nd->n", small, whole[:, : small.shape[1]])
    cosines = dots / np.linalg.norm(small, axis=1) / np.linalg.norm(whole, axis=1)
    return {"cosine": float(cosines.mean()), "lowest_cosine": float(cosines.min())}


def ranked(queries: Floats, rows: Floats, *, itself: bool) -> npt.NDArray[np.int64]:
    """The best CANDIDATES rows for each query, best first: int64 [Q, CANDIDATES]. The first rows come first
    among equal ones.

    With `itself`, query i is row i, which does not count.
    """
    best = []
    for i, query in enumerate(queries):
        scores = rows @ query
        if itself:
            scores[i] = -np.inf
        best.append(np.argsort(-scores, kind="stable")[:CANDIDATES])
    return np.array(best)


def recall(exact: npt.NDArray[np.int64], nearest: npt.NDArray[np.int64], count: int) -> float:
    """The share of the exact NEAREST rows that are among the first `count` of `nearest`."""
    shares = [
        len(np.intersect1d(right[:NEAREST], some[:count])) / NEAREST
        for right, some in zip(exact, nearest, strict=True)
    ]
    return float(np.mean(shares))


def equal_share(client: Client, images: Sequence[Any], texts: list[str]) -> float:
    """The share of the server's numbers that equal those of its float32 embeddings in the same form."""
    shares = []
    for embed, items in ((client.embed_images, images), (client.embed_texts, texts)):
        whole = embed(items).embeddings
        for fraction in FRACTIONS:
            dim = whole.shape[1] // fraction
            for format in ("int8", "uint8", "binary", "ubinary"):
                served = embed(items, format=format, dimensions=dim, allow_truncation=True).floats
                shares.append(float((np.abs(served - in_form(whole, format, dim)) < 1e-6).mean()))
    return min(shares)


def tables(facts: Facts) -> str:
    """The figures in Markdown: a table for each collection."""
    return "\n\n".join(table(collection) for collection in facts["collections"])


def table(collection: Facts) -> str:
    """The figures of a collection in Markdown."""
    lines = [
        f"{collection['name']}: {collection['pictures']:,} pictures; queries: "
        f"{collection['picture_queries']:,} pictures, {collection['text_queries']:,} texts.",
        "",
        "| format | dimensions | bytes | cosine with float32: mean, lowest | recall@10: picture, text "
        f"| of the 10 among {CANDIDATES}: picture, text |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {SAME.get(row['format'], row['format'])} | {row['dimensions']} | {row['bytes']:,} "
        f"| {row['cosine']:.4f}, {row['lowest_cosine']:.4f} "
        f"| {row['picture_recall']:.3f}, {row['text_recall']:.3f} "
        f"| {row['picture_candidates']:.3f}, {row['text_candidates']:.3f} |"
        for row in collection["forms"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
