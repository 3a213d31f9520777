"""Measures how well what does not fit is told apart: queries without a meaning, pictures of no label.

\b
python -m bench.unknown --target localhost:8600 --cifar10 cifar-10-batches-py --out unknown.json
python -m bench.unknown show unknown.json

Runs against a server with any model, and removes the collections that it makes. Search: the percentile of the
best hit, of queries that name what the pictures show against queries without a meaning. Classify: the
probability of none of the above, with six of CIFAR-10's classes as labels and the other four unknown.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from clipserve import Client, LabelSet, NoneOfTheAbove, Point
from clipserve.tools.evaluation.cifar import load_cifar10
from clipserve.tools.evaluation.dataset import Dataset
from PIL import Image, ImageDraw

DEMO = Path(__file__).parents[1] / "demo"
UNKNOWN = (
    *("狗", "汽车", "собака", "самолёт", "كلب", "🐕", "कुत्ता", "犬", "개", "σκύλος", "כלב"),
    *("xqzwv plmk", "asdfghjkl", "1234567890", "%%%%", "lorem ipsum dolor"),
)
SPLITS = 5
KNOWN_CLASSES = 6
WAYS = (
    ("negative words", ()),
    ("four prompts", ("a photo.", "a picture of something.", "an image.", "a photo of something else.")),
)
"""What stands for none of the above; the prompts did before there were negative words."""
NONE = "none of the above"
ALL = 2**31 - 1
GOOD_PERCENTILE = 95

Facts = dict[str, Any]
Numbers = npt.NDArray[np.float64]


@click.group(invoke_without_command=True, help=__doc__)
@click.option("--target", default="localhost:8600", show_default=True, help="The server.")
@click.option("--cifar10", type=click.Path(path_type=Path, exists=True), help="CIFAR-10, in any layout.")
@click.option("--limit", default=3_000, show_default=True, help="Pictures of CIFAR-10's test split.")
@click.option("--four-prompts", is_flag=True, help="Measure what was before negative words too.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("unknown.json"), show_default=True)
@click.pass_context
def main(
    context: click.Context, target: str, cifar10: Path | None, limit: int, four_prompts: bool, out: Path
) -> None:
    """See above."""
    if context.invoked_subcommand:
        return
    with Client(target) as client:
        facts: Facts = {"model": client.info().default_model}
        files = sorted((DEMO / "pictures").glob("*.jpg"))
        names = [file.stem.replace("-", " ") for file in files]
        facts["search"] = {"demo pictures": search(client, files, names)}
        if cifar10 is not None:
            found = load_cifar10(cifar10, "test").limited(limit)
            images = [sample.image for sample in found.samples]
            facts["search"]["CIFAR-10 test"] = search(client, images, found.classes)
            facts["classify"] = classify(client, found, WAYS if four_prompts else WAYS[:1])
    out.write_text(json.dumps(facts, indent=1) + "\n")
    report(facts)


@main.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
def show(file: Path) -> None:
    """Prints the figures of a file."""
    report(json.loads(file.read_text()))


def search(client: Client, images: Sequence[Any], known: Sequence[str]) -> Facts:
    """Percentiles of the best hits among these pictures, of known and of unknown queries."""
    name = f"bench_unknown_{os.getpid()}"
    client.create_collection(name)
    try:
        client.upsert(name, (Point(f"{i}", image=image) for i, image in enumerate(images)))
        first = client.search(name, text=known[0], top_k=1)[0].percentile is not None
        good, bad = ([best(client, name, text) for text in texts] for texts in (known, UNKNOWN))
    finally:
        client.delete_collection(name)
    return {
        "pictures": len(images),
        "known": len(good),
        "unknown": len(bad),
        "first_search_has_percentiles": first,
        "auroc": auroc(good, bad),
        "known_called_weak": share(value < GOOD_PERCENTILE for value in good),
        "unknown_called_weak": share(value < GOOD_PERCENTILE for value in bad),
    }


def best(client: Client, collection: str, text: str) -> float:
    """The percentile of the best hit."""
    found = client.search(collection, text=text, top_k=1)[0].percentile
    if found is None:
        raise click.ClickException("hits have no percentile; is the server an old one?")
    return found


def classify(client: Client, found: Dataset, ways: Sequence[tuple[str, tuple[str, ...]]]) -> Facts:
    """Of each split: how well the probability of none of the above tells unknown classes apart."""
    images = [sample.image for sample in found.samples]
    truth = np.array([sample.label for sample in found.samples])
    rows: dict[str, list[Facts]] = {way: [] for way, _ in ways}
    for seed in range(SPLITS):
        chosen = sorted(np.random.default_rng(seed).permutation(len(found.classes))[:KNOWN_CLASSES].tolist())
        is_known = np.isin(truth, chosen)
        names = tuple(found.classes[i] for i in chosen)
        for way, prompts in ways:
            labels = LabelSet(names, none_of_the_above=NoneOfTheAbove(NONE, prompts))
            none, label = none_scores(client, images, labels)
            rows[way].append(
                {
                    "labels": names,
                    "auroc": auroc(none[~is_known], none[is_known]),
                    "fpr95": fpr95(none[~is_known], none[is_known]),
                    "known_called_none": float((label[is_known] == NONE).mean()),
                    "unknown_called_none": float((label[~is_known] == NONE).mean()),
                }
            )
    labels = LabelSet(tuple(found.classes), none_of_the_above=NoneOfTheAbove(NONE))
    nothing = no_pictures()
    _, called = none_scores(client, list(nothing.values()), labels)
    return {
        "pictures": len(images),
        "splits": SPLITS,
        **{way: {"mean": mean(of), "splits": of} for way, of in rows.items()},
        "no_class_called_none": dict(zip(nothing, (called == NONE).tolist(), strict=True)),
    }


def none_scores(client: Client, images: Sequence[Any], labels: LabelSet) -> tuple[Numbers, np.ndarray]:
    """Each picture's probability of none of the above, and its best label."""
    result = client.classify(images, labels, top_k=ALL, mode="softmax")
    none = [next(score.probability for score in one.scores if score.label == NONE) for one in result]
    return np.array(none, float), np.array([one.scores[0].label for one in result])


def no_pictures() -> dict[str, bytes]:
    """Pictures of nothing: noise, plain colors, patterns, screenshots, drawings. As PNG, by name."""
    random = np.random.default_rng(0)
    side = 224
    noise = random.integers(0, 256, (side, side, 3), np.uint8)
    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    found = {
        "noise": Image.fromarray(noise),
        "gray noise": Image.fromarray(noise[..., 0]),
        "coarse noise": Image.fromarray(noise[:14, :14]).resize((side, side), Image.Resampling.NEAREST),
        "soft noise": Image.fromarray(noise[:9, :9]).resize((side, side), Image.Resampling.BICUBIC),
        "black": Image.new("RGB", (side, side)),
        "white": Image.new("RGB", (side, side), "white"),
        "red": Image.new("RGB", (side, side), "red"),
        "gradient": Image.fromarray(np.tile(ramp, (side, 1))),
        "stripes": Image.fromarray(np.tile(np.repeat(np.uint8([0, 255] * 14), 8), (side, 1))),
        "checkerboard": Image.fromarray(np.kron(np.indices((14, 14)).sum(0) % 2, np.ones((16, 16))) * 255),
    }
    found = {name: image.convert("RGB") for name, image in found.items()}
    for name, draw in (
        ("text page", text_page),
        ("dialog window", dialog_window),
        ("table", table),
        ("line chart", line_chart),
        ("bar chart", bar_chart),
        ("scribble", scribble),
    ):
        found[name] = Image.new("RGB", (side, side), "white")
        draw(ImageDraw.Draw(found[name]), side, random)
    return {name: png(image) for name, image in found.items()}


def png(image: Image.Image) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def text_page(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """Lines of words."""
    for y in range(10, side - 10, 12):
        words = " ".join("".join(map(chr, random.integers(97, 123, n))) for n in random.integers(2, 8, 6))
        draw.text((8, y), words, fill="black")


def dialog_window(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """A title bar, a message and two buttons."""
    draw.rectangle((20, 60, side - 20, 170), fill="#eeeeee", outline="#888888")
    draw.rectangle((20, 60, side - 20, 80), fill="#3465a4")
    draw.text((26, 64), "Save changes?", fill="white")
    draw.text((36, 100), "The file has been changed.", fill="black")
    for x, word in ((60, "Cancel"), (130, "OK")):
        draw.rectangle((x, 135, x + 56, 158), fill="white", outline="#555555")
        draw.text((x + 8, 140), word, fill="black")


def table(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """Rows and columns of numbers."""
    for i in range(0, side, 28):
        draw.line((0, i, side, i), fill="#999999")
        draw.line((i * 2, 0, i * 2, side), fill="#999999")
        for j in range(4):
            draw.text((j * 56 + 8, i + 8), str(random.integers(0, 10_000)), fill="black")


def line_chart(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """Two axes and a line."""
    draw.line((20, 10, 20, side - 20, side - 10, side - 20), fill="black", width=2)
    heights = side / 2 + random.normal(0, 9, 20).cumsum()
    draw.line([(24 + 9 * i, float(y)) for i, y in enumerate(heights)], fill="blue", width=3)


def bar_chart(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """Two axes and bars."""
    draw.line((20, 10, 20, side - 20, side - 10, side - 20), fill="black", width=2)
    for i, height in enumerate(random.integers(20, 170, 8)):
        draw.rectangle((30 + 22 * i, side - 20 - int(height), 46 + 22 * i, side - 20), fill="orange")


def scribble(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """A line without a form."""
    points = [(float(x), float(y)) for x, y in random.uniform(20, side - 20, (40, 2))]
    draw.line(points, fill="black", width=3, joint="curve")


def auroc(high: Iterable[float], low: Iterable[float]) -> float:
    """The share of pairs in which the first is higher; ties count half."""
    first, second = np.array(list(high))[:, None], np.array(list(low))
    return float((first > second).mean() + (first == second).mean() / 2)


def fpr95(unknown: Numbers, known: Numbers) -> float:
    """The share of unknown pictures that are taken where 95 % of the known ones are."""
    return float((unknown <= np.quantile(known, 0.95)).mean())


def share(values: Iterable[bool]) -> float:
    """Of those that are true."""
    return float(np.mean(list(values)))


def mean(rows: Sequence[Facts]) -> Facts:
    """Means of the numbers."""
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "labels"}


def report(facts: Facts) -> None:
    """The figures as Markdown."""
    click.echo(f"Model {facts['model']}\n")
    click.echo("| search in | pictures | known, unknown queries | AUROC | called weak: known, unknown |")
    click.echo("|---|---|---|---|---|")
    for name, row in facts["search"].items():
        weak = f"{row['known_called_weak']:.0%}, {row['unknown_called_weak']:.0%}"
        counts = f"{row['pictures']:,} | {row['known']}, {row['unknown']}"
        click.echo(f"| {name} | {counts} | {row['auroc']:.3f} | {weak} |")
    if "classify" not in facts:
        return
    found = facts["classify"]
    click.echo(
        f"\n| none of the above, {found['pictures']:,} pictures | AUROC | FPR95 | called so: known, not |"
    )
    click.echo("|---|---|---|---|")
    for way in (way for way, _ in WAYS if way in found):
        row = found[way]["mean"]
        called = f"{row['known_called_none']:.0%}, {row['unknown_called_none']:.0%}"
        click.echo(f"| {way} | {row['auroc']:.3f} | {row['fpr95']:.3f} | {called} |")
    called = found["no_class_called_none"]
    click.echo(f"\nPictures of no class called none of the above: {sum(called.values())} of {len(called)}")
    click.echo("\n".join(f"not: {name}" for name, is_none in called.items() if not is_none))


if __name__ == "__main__":
    main()
