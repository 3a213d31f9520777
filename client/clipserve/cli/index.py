"""`clipserve index`."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from clipserve import errors
from clipserve.cli.common import shown
from clipserve.cli.errors import ITEMS_FAILED, Failure
from clipserve.cli.options import Server, model_option, server_options
from clipserve.cli.output import error_facts, print_json, progress, show_errors, waiting
from clipserve.client import Client
from clipserve.files import find_images
from clipserve.types import Collection, PayloadValue, Point

SCHEMA = {
    "path": "string",
    "root": "string",
    "folder": "string",
    "bytes": "int",
    "modified": "timestamp",
}
"""path: relative to root, with slashes; root: the indexed folder, absolute; folder: where in root it lies."""
MAX_ID_BYTES = 512


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--collection", "-c", required=True, metavar="NAME", help="Collection; made if it is not there."
)
@model_option
@server_options
def index(
    folder: Path,
    collection: str,
    model: str,
    server: Server,
) -> None:
    """Make the pictures below FOLDER findable.

    A picture's id is its path below FOLDER, so indexing a folder again replaces and adds, and nothing is
    there twice. Pictures that cannot be read are passed over and listed at the end.

    \b
    Examples:
      clipserve index ~/Pictures -c holiday
      clipserve search "a dog playing in the snow" -c holiday --sheet hits.png
    """
    root = folder.resolve()
    with waiting(f"Looking for pictures in {folder}", show=not server.as_json):
        files = list(find_images(root))
    if not files:
        raise Failure(f"no pictures found in {folder}")
    with server.client(patient=True) as client:
        found = ensure_collection(client, collection, model)
        start = time.perf_counter()
        with progress("Indexing", len(files), show=not server.as_json) as advance:
            result = client.upsert(
                collection, points(files, root, set(found.schema)), on_error="return", progress=advance
            )
        seconds = time.perf_counter() - start
        total = client.count(collection)
    failed = [(shown(files[i].relative_to(root)), error) for i, error in result.errors.items()]
    if server.as_json:
        print_json(
            {
                "collection": collection,
                "model": found.model.name,
                "fingerprint": found.model.fingerprint,
                "written": result.written,
                "points": total,
                "seconds": seconds,
                "errors": [error_facts(name, error) for name, error in failed],
            }
        )
    else:
        show_errors(failed)
        rate = result.written / seconds if seconds else 0.0
        click.echo(
            f"indexed {result.written:,} of {len(files):,} pictures in {seconds:.1f} s ({rate:,.1f}/s); "
            f"{collection} has {total:,} points now"
        )
    if failed:
        raise SystemExit(ITEMS_FAILED)


def ensure_collection(client: Client, name: str, model: str) -> Collection:
    """The collection, made if it is not there; Failure if it is there with another model."""
    try:
        return client.create_collection(name, schema=SCHEMA, model=model)
    except errors.CollectionExists:
        found = client.get_collection(name)
    if model and found.model.name != model:
        raise Failure(
            f"{name} was made with model {found.model.name}; leave out --model, or choose another collection"
        )
    return found


def points(files: Sequence[Path], root: Path, fields: set[str]) -> Iterator[Point]:
    """A point for each file, with the payload fields that the collection has."""
    for file in files:
        path = file.relative_to(root).as_posix()
        payload: dict[str, PayloadValue] = {
            "path": printable(path),
            "root": printable(root.as_posix()),
            "folder": printable(file.relative_to(root).parent.as_posix()),
        }
        try:
            facts = file.stat()
            payload["bytes"] = facts.st_size
            payload["modified"] = dt.datetime.fromtimestamp(int(facts.st_mtime), dt.timezone.utc)
        except (OSError, ValueError, OverflowError):
            # The picture may still be read; if not, that is what will be reported.
            payload.pop("bytes", None)
        yield Point(
            point_id(path),
            image=file,
            payload={name: value for name, value in payload.items() if name in fields},
        )


def point_id(path: str) -> str:
    """The path, or where an id cannot be like that, a hash of it."""
    plain = path.isprintable() and 0 < len(path.encode(errors="surrogatepass")) <= MAX_ID_BYTES
    if plain and printable(path) == path:
        return path
    return "sha256:" + hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()


def printable(path: str) -> str:
    """The path in UTF-8: bytes of file names that are none are shown as question marks."""
    return path.encode(errors="replace").decode()
