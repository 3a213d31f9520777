"""`clipserve index`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from clipserve.errors import ClipserveError
from clipserve.inputs.picture_files import PassedOver, find_images
from clipserve.safe_text import json_text
from clipserve.tools.cli.common import no_pictures, say_passed_over, shown, unread_folders
from clipserve.tools.cli.errors import ITEMS_FAILED, Failure
from clipserve.tools.cli.hits import too_few_points
from clipserve.tools.cli.index_target import (
    check_prefix,
    ensure_collection,
    gone_points,
    refuse_others,
    warn_if_blind,
)
from clipserve.tools.cli.options import OUT, Server, model_option, parallel_option, server_options
from clipserve.tools.cli.output import error_facts, per_second, print_json, progress, show_errors, waiting
from clipserve.tools.cli.paths import ExistingPath
from clipserve.tools.cli.terminal import say
from clipserve.tools.indexing.facts import Picture
from clipserve.tools.indexing.reading import Reader
from clipserve.tools.indexing.roots import note_root
from clipserve.tools.indexing.run import IndexRun
from clipserve.types import Collection


@click.command()
@click.argument("folder", type=ExistingPath(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--collection", "-c", required=True, metavar="NAME", help="Collection; made if it is not there."
)
@model_option
@click.option(
    "--keep-sources", is_flag=True, help="Make the collection keep the pictures themselves as well."
)
@click.option("--fast", is_flag=True, help="Pass over files of known size and time without reading them.")
@click.option(
    "--prefix",
    default="",
    metavar="TEXT",
    callback=check_prefix,
    help="Goes before the ids, e.g. 'phone/', so that folders with equal names share a collection.",
)
@click.option("--replace", is_flag=True, help="Overwrite points of other folders that have the same ids.")
@click.option("--prune", is_flag=True, help="Delete the points of pictures that are gone from FOLDER.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before deleting.")
@click.option("--errors", "errors_file", type=OUT, help="Write all errors here, one JSON document a line.")
@parallel_option
@server_options
def index(
    folder: Path,
    collection: str,
    model: str,
    keep_sources: bool,
    fast: bool,
    prefix: str,
    replace: bool,
    prune: bool,
    yes: bool,
    errors_file: Path | None,
    parallel: int,
    server: Server,
) -> None:
    """Make the pictures below FOLDER findable.

    A picture's id is its path below FOLDER, so nothing is there twice. Run again, it writes what is new or
    changed and passes over pictures whose content is known; after Ctrl-C or a failure, the same command
    goes on. Pictures that cannot be read are listed at the end.

    Files are pictures by what they hold, whatever their names. Other files, hidden ones and folders such as
    @eaDir and __MACOSX are passed over; the summary counts them by kind.

    Where ids are taken by points of another folder, nothing is written: give this folder's ids a --prefix,
    or overwrite those points with --replace. A folder that was moved, with the same pictures, is known again.

    A collection that keeps its sources can be moved to another model where the files are out of the
    server's reach (`clipserve migrate`); it takes as much disk again as the pictures.

    \b
    Examples:
      clipserve index ~/Pictures -c holiday
      clipserve index ~/Pictures -c holiday --prune
      clipserve index /archive -c archive --fast --parallel 8 --errors failed.jsonl
      clipserve index ~/Pictures -c holiday --keep-sources
      clipserve index /media/phone -c holiday --prefix phone/
      clipserve search "a dog playing in the snow" -c holiday --sheet hits.png
    """
    root = folder.resolve()
    passed_over = PassedOver()
    with waiting(f"Looking for pictures in {shown(folder)}", show=not server.as_json):
        pictures = [Picture(root, path, prefix) for path in find_images(root, passed_over)]
    if not pictures:
        raise Failure(no_pictures(shown(folder), passed_over))
    note_root(root)
    with server.client(patient=True, in_flight=parallel) as client:
        found = ensure_collection(client, collection, model, keep_sources)
        if found.count and not replace:
            refuse_others(client, found, pictures, show=not server.as_json)
        gone = gone_points(client, found, root, pictures, passed_over.unread, sure=yes) if prune else []
        about = client.info()
        reader = Reader(frozenset(found.schema), about.limits.max_image_bytes, trust_times=fast)
        warn_if_blind(found, fast)
        with progress("Indexing", len(pictures), show=not server.as_json) as advance:
            run = IndexRun(
                client,
                collection,
                pictures,
                reader,
                known=found.count > 0,
                replace=replace,
                insert_only=about.inserts_new_points,
                progress=advance,
            )
            with how_to_go_on(run, len(pictures)):
                run.run()
        pruned = client.delete_points(collection, gone) if gone else 0
        total = client.count(collection)
    failed = unread_folders(passed_over, root)
    failed += [(shown(name), error) for name, error in run.failures]
    if errors_file is not None:
        write_errors(errors_file, failed)
    if server.as_json:
        print_json(document(found, run, failed, pruned, total) | passed_over.facts())
    else:
        show_errors(failed, more="all with --errors FILE")
        say_passed_over(passed_over)
        show(found, run, len(failed), pruned, total)
    if failed:
        raise SystemExit(ITEMS_FAILED)


@contextmanager
def how_to_go_on(run: IndexRun, total: int) -> Iterator[None]:
    """Says so where the run is stopped."""
    try:
        yield
    except (KeyboardInterrupt, ClipserveError):
        say(
            f"stopped after {run.done:,} of {total:,} pictures; what was written stays, "
            "and the same command goes on from there",
            err=True,
        )
        raise


def write_errors(path: Path, failed: Sequence[tuple[str, ClipserveError]]) -> None:
    """One JSON document a line."""
    lines = (json_text(error_facts(name, error)) + "\n" for name, error in failed)
    path.write_text("".join(lines), encoding="utf-8")


def document(
    found: Collection,
    run: IndexRun,
    failed: Sequence[tuple[str, ClipserveError]],
    pruned: int,
    total: int,
) -> dict[str, Any]:
    """The summary for machines."""
    return {
        "collection": found.name,
        "model": found.model.name,
        "fingerprint": found.model.fingerprint,
        "new": run.counts["new"],
        "changed": run.counts["changed"],
        "unchanged": run.counts["unchanged"],
        "failed": len(failed),
        "pruned": pruned,
        "written": run.counts["new"] + run.counts["changed"],
        "points": total,
        "seconds": run.seconds,
        "pictures_per_second": per_second(run.done, run.seconds),
        "errors": [error_facts(name, error) for name, error in failed],
    }


def show(found: Collection, run: IndexRun, failed: int, pruned: int, total: int) -> None:
    """The summary."""
    if run.moved:
        say(f"{run.moved:,} of the points were those of another folder until now", err=True)
    counts = ", ".join(f"{run.counts[state]:,} {state}" for state in ("new", "changed", "unchanged"))
    more = (f", {failed:,} failed" if failed else "") + (f", {pruned:,} pruned" if pruned else "")
    say(
        f"looked at {run.done:,} pictures in {run.seconds:.1f} s "
        f"({per_second(run.done, run.seconds):,.1f} pictures/s): {counts}{more}; "
        f"{found.name} has {total:,} points now"
    )
    few = too_few_points(found.name, total)
    if few:
        say(few, err=True)
