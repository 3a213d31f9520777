"""`clipserve search`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from clipserve.cli.options import FILE, OUT, Server, server_options
from clipserve.cli.output import console, number, print_json, table
from clipserve.cli.where import parse_where
from clipserve.sheet import SUFFIXES, Entry, Sheet, write_sheet
from clipserve.types import Hit, SearchResult, StoredPoint


@click.command()
@click.argument("text", required=False)
@click.option("--image", "-i", type=FILE, help="Search with a picture instead of a text.")
@click.option("--collection", "-c", required=True, metavar="NAME", help="Where to search.")
@click.option("--top", "-k", default=10, show_default=True, type=click.IntRange(1), help="Hits at most.")
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Leave out hits with a lower cosine.")
@click.option(
    "--where",
    "-w",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only points like this; also with !=, <, <=, >, >=; repeatable, all must hold.",
)
@click.option("--sheet", type=OUT, help="Write a contact sheet of the hits: .png or .html.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the indexed folder lies now, if it has moved.",
)
@server_options
def search(
    text: str | None,
    image: Path | None,
    collection: str,
    top: int,
    threshold: float | None,
    where: tuple[str, ...],
    sheet: Path | None,
    root: Path | None,
    server: Server,
) -> None:
    """Find the pictures that are nearest to TEXT, or to another picture.

    \b
    Examples:
      clipserve search "a dog playing in the snow" -c holiday -k 5 --sheet hits.png
      clipserve search --image beach.jpg -c holiday --where "modified>=2024-01-01"
      clipserve search "a red car" -c holiday --threshold 0.2 --json
    """
    if (text is None) == (image is None):
        raise click.UsageError("search with a TEXT or with --image, one of them")
    if sheet is not None and sheet.suffix not in SUFFIXES:
        raise click.BadParameter(f"{sheet.name} must end in {' or '.join(SUFFIXES)}", param_hint="--sheet")
    with server.client() as client:
        schema = client.get_collection(collection).schema if where else {}
        result = client.search(
            collection,
            text=text,
            image=image,
            top_k=top,
            score_threshold=threshold,
            filter=parse_where(where, schema),
        )
    if sheet is not None:
        made = make_sheet(result, text, image, collection, root)
        write_sheet(made, sheet)
        missing = sum(entry.path is None or not entry.path.is_file() for entry in made.entries)
        if missing:
            click.echo(f"{missing} pictures are not where they were indexed; say --root FOLDER", err=True)
    if server.as_json:
        print_json(document(result, root))
    else:
        show(result, root)
        if sheet is not None:
            click.echo(f"\nwrote {sheet}")
    if result.truncated:
        click.echo("the text was too long for the model and lost its end", err=True)


def path_of(hit: Hit | StoredPoint, root: Path | None = None) -> Path | None:
    """Where the picture lies, if its payload says so."""
    path, base = hit.payload.get("path"), root or hit.payload.get("root")
    if not isinstance(path, str) or not isinstance(base, str | Path):
        return None
    return Path(base) / path


def name_of(hit: Hit | StoredPoint) -> str:
    """What people call the picture."""
    path = hit.payload.get("path")
    return path if isinstance(path, str) else hit.id


def show(result: SearchResult, root: Path | None) -> None:
    """A table."""
    if not result.hits:
        click.echo("nothing found")
        return
    made = table(("", "right"), ("score", "right"), "picture", "in")
    for rank, hit in enumerate(result, 1):
        base = root or hit.payload.get("root", "")
        made.add_row(f"{rank}", number(hit.score), Text(name_of(hit)), Text(f"{base}", "dim"))
    console().print(made)


def document(result: SearchResult, root: Path | None) -> dict[str, Any]:
    """The hits for machines."""
    return {
        "model": result.model.name,
        "fingerprint": result.model.fingerprint,
        "truncated": result.truncated,
        "hits": [
            {
                "rank": rank,
                "id": hit.id,
                "score": hit.score,
                "path": str(path_of(hit, root) or "") or None,
                "payload": dict(hit.payload),
            }
            for rank, hit in enumerate(result, 1)
        ],
    }


def make_sheet(
    result: SearchResult, text: str | None, image: Path | None, collection: str, root: Path | None
) -> Sheet:
    """What the contact sheet shows."""
    entries: Sequence[Entry] = [Entry(name_of(hit), hit.score, path_of(hit, root)) for hit in result]
    count = f"{len(entries)} best of {collection}" if entries else f"nothing in {collection}"
    return Sheet(
        title=f"“{text}”" if text is not None else f"like {image.name if image else ''}",
        subtitle=f"{count} · model {result.model.name} · scores are cosines",
        entries=entries,
        query=image,
    )
