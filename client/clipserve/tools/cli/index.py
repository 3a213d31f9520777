"""`clipserve index`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from clipserve.errors import ClipserveError
from clipserve.safe_text import json_text
from clipserve.tools.cli.common import no_pictures, say_skipped, unread_folders
from clipserve.tools.cli.errors import ITEMS_FAILED, Failure
from clipserve.tools.cli.index_target import (
    check_prefix,
    ensure_collection,
    gone_points,
    refuse_taken_ids,
    warn_if_all_embedded_again,
)
from clipserve.tools.cli.options import IN_FLIGHT, OUT, Server, model_option, server_options
from clipserve.tools.cli.output import (
    error_facts,
    per_second,
    print_json,
    progress,
    say_if_stopped,
    show_errors,
    waiting,
)
from clipserve.tools.cli.paths import ExistingPath
from clipserve.tools.cli.search_output import too_few_points
from clipserve.tools.cli.terminal import say
from clipserve.tools.indexing.facts import Picture, printable
from clipserve.tools.indexing.reading import Reader
from clipserve.tools.indexing.roots import record_root
from clipserve.tools.indexing.run import IndexRun
from clipserve.tools.picture_files import PassedOver, find_images
from clipserve.types import Collection


@click.command()
@click.argument("folder", type=ExistingPath(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--collection", "-c", required=True, metavar="NAME", help="Collection; created if it does not exist."
)
@model_option
@click.option(
    "--keep-sources", is_flag=True, help="Store the pictures themselves too, if the collection is new."
)
@click.option(
    "--fast", is_flag=True, help="Skip files whose size and time have not changed, without reading them."
)
@click.option(
    "--prefix",
    default="",
    metavar="TEXT",
    callback=check_prefix,
    help="Text in front of each id, e.g. 'phone/'; needed if two folders have pictures with the same "
    "relative path.",
)
@click.option("--replace", is_flag=True, help="Overwrite points of other folders with the same ids.")
@click.option("--prune", is_flag=True, help="Delete points whose pictures are gone from FOLDER.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before deleting points.")
@click.option(
    "--errors", "errors_file", type=OUT, help="File to write all errors to, one JSON document a line."
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=IN_FLIGHT,
    show_default=True,
    metavar="N",
    help="Concurrent requests.",
)
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
    """Add the pictures below FOLDER to a collection, for search.

    The id of a picture is its path below FOLDER. Later runs write only new and changed pictures. After Ctrl-C
    or a failure, the same command continues. Pictures that cannot be read are listed at the end.

    The content of a file decides whether it is a picture, not its name. Other files, hidden files and folders
    such as @eaDir and __MACOSX are skipped; the summary counts them by kind.

    If points of another folder have the same ids, nothing is written: give the ids of this folder a --prefix,
    or overwrite those points with --replace. A folder that was moved is recognized by its pictures.

    With --keep-sources the collection also stores the pictures. It needs their disk space again, and
    `clipserve migrate` can then change its model even if the server cannot read the files.

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
    skipped = PassedOver()
    with waiting(f"Looking for pictures in {printable(folder)}", show=not server.as_json):
        pictures = [Picture(root, path, prefix) for path in find_images(root, skipped)]
    if not pictures:
        raise Failure(no_pictures(printable(folder), skipped))
    record_root(root)
    with server.client(job=True, in_flight=parallel) as client:
        info = ensure_collection(client, collection, model, keep_sources)
        if info.count and not replace:
            refuse_taken_ids(client, info, pictures, show=not server.as_json)
        gone = gone_points(client, info, root, pictures, skipped.unread, sure=yes) if prune else []
        about = client.info()
        reader = Reader(frozenset(info.schema), about.limits.max_image_bytes, trust_times=fast)
        warn_if_all_embedded_again(info, fast)
        with progress("Indexing", len(pictures), show=not server.as_json) as advance:
            run = IndexRun(
                client,
                collection,
                pictures,
                reader,
                known=info.count > 0,
                replace=replace,
                insert_only=about.inserts_new_points,
                progress=advance,
            )
            with say_if_stopped(lambda: how_to_continue(run, len(pictures))):
                run.run()
        pruned = client.delete_points(collection, gone) if gone else 0
        total = client.count(collection)
    failed = unread_folders(skipped, root)
    failed += [(printable(name), error) for name, error in run.failures]
    if errors_file is not None:
        write_errors(errors_file, failed)
    if server.as_json:
        print_json(document(info, run, failed, pruned, total) | skipped.facts())
    else:
        show_errors(failed, more="all with --errors FILE")
        say_skipped(skipped)
        show(info, run, len(failed), pruned, total)
    if failed:
        raise SystemExit(ITEMS_FAILED)


def how_to_continue(run: IndexRun, total: int) -> str:
    return (
        f"stopped after {run.done:,} of {total:,} pictures; written points stay, and the same command "
        "continues from there"
    )


def write_errors(path: Path, failed: Sequence[tuple[str, ClipserveError]]) -> None:
    lines = (json_text(error_facts(name, error)) + "\n" for name, error in failed)
    path.write_text("".join(lines), encoding="utf-8")


def document(
    collection: Collection,
    run: IndexRun,
    failed: Sequence[tuple[str, ClipserveError]],
    pruned: int,
    total: int,
) -> dict[str, Any]:
    return {
        "collection": collection.name,
        "model": collection.model.name,
        "fingerprint": collection.model.fingerprint,
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


def show(collection: Collection, run: IndexRun, failed: int, pruned: int, total: int) -> None:
    if run.moved:
        say(f"{run.moved:,} of the points belonged to another folder before", err=True)
    counts = ", ".join(f"{run.counts[state]:,} {state}" for state in ("new", "changed", "unchanged"))
    counts += (f", {failed:,} failed" if failed else "") + (f", {pruned:,} pruned" if pruned else "")
    say(
        f"checked {run.done:,} pictures in {run.seconds:.1f} s "
        f"({per_second(run.done, run.seconds):,.1f} pictures/s): {counts}; "
        f"{collection.name} has {total:,} points now"
    )
    few = too_few_points(collection.name, total)
    if few:
        say(few, err=True)
