"""`clipserve import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipserve.errors import ClipserveError
from clipserve.tools.cli.common import need_pyarrow
from clipserve.tools.cli.errors import ITEMS_FAILED, Failure
from clipserve.tools.cli.import_target import Plan, ensure_collection, fitting_fields, refuse_changes
from clipserve.tools.cli.options import Server, server_options
from clipserve.tools.cli.output import (
    error_facts,
    per_second,
    progress,
    say_if_stopped,
    show_errors,
)
from clipserve.tools.cli.stdin import FILE_OR_STDIN, file_of
from clipserve.tools.cli.terminal import say
from clipserve.tools.indexing.facts import printable
from clipserve.types import Collection

if TYPE_CHECKING:
    from clipserve.tools.parquet.load import LoadRun
    from clipserve.tools.parquet.read import PointFile


@click.command("import")
@click.argument("file", type=FILE_OR_STDIN, metavar="FILE.parquet")
@click.option("--collection", "-c", required=True, metavar="NAME", help="Collection to write to.")
@click.option(
    "--create/--no-create",
    default=True,
    show_default=True,
    help="Create the collection if it does not exist.",
)
@click.option(
    "--model",
    default="",
    metavar="NAME",
    help="Model of a new collection.  [default: the file's, else the server's]",
)
@click.option("--skip-existing", is_flag=True, help="Do not write points whose ids exist already.")
@click.option("--from-sources", is_flag=True, help="Embed the sources in the file again.")
@click.option("--replace", is_flag=True, help="Overwrite points with the same ids and other content.")
@click.option(
    "--without-sources",
    is_flag=True,
    help="Import without sources, if the file has none or the collection keeps none. Overwritten points lose "
    "their sources.",
)
@click.option(
    "--accept-other-image-rules",
    is_flag=True,
    help="Import embeddings that were made with other rules for images than the collection's.",
)
@click.option("--id-column", default="id", show_default=True, metavar="NAME", help="Column with the ids.")
@click.option(
    "--embedding-column",
    default="embedding",
    show_default=True,
    metavar="NAME",
    help="Column with the embeddings, as lists of numbers.",
)
@server_options
def import_(
    file: Path,
    collection: str,
    create: bool,
    model: str,
    skip_existing: bool,
    from_sources: bool,
    replace: bool,
    without_sources: bool,
    accept_other_image_rules: bool,
    id_column: str,
    embedding_column: str,
    server: Server,
) -> None:
    """Write the points of a Parquet file into a collection.

    Files of `clipserve export` have a schema and the name of their model. The collection must have the same
    model, or the file must have sources for --from-sources. Other files need a column of ids and a column of
    embeddings; their other columns become payload fields if a field type fits, else they are listed with
    the reason. If several rows have one id, the first is written and the others are listed as failed.

    The server normalizes embeddings; those of an export are restored exactly. Sources are restored if the
    file has them (`clipserve export --sources`) and the collection keeps sources.

    A new collection takes the file's rules for orientation and transparency. A collection with other rules
    is refused, unless the sources are embedded again or --accept-other-image-rules is given.

    After Ctrl-C or a failure, run the command again. Existing points with other content are overwritten only
    with --replace, and sources are lost only with --without-sources.

    \b
    Examples:
      clipserve import holiday.parquet -c holiday
      clipserve import holiday.parquet -c holiday --skip-existing
      clipserve import backup.parquet -c holiday --replace
      clipserve import backup.parquet -c holiday_large --from-sources --model large
      ssh backups cat holiday.parquet | clipserve import - -c holiday
      clipserve import laion.parquet -c laion --id-column key --embedding-column vector --model demo
    """
    need_pyarrow()
    from clipserve.tools.parquet.layout import FileError
    from clipserve.tools.parquet.load import LoadRun
    from clipserve.tools.parquet.read import PointFile

    try:
        with (
            file_of(file) as path,
            PointFile(path, id_column, embedding_column) as points,
            server.client(job=True) as client,
        ):
            if from_sources and points.columns.source is None:
                raise FileError("the file has no sources; export with --sources, or leave out --from-sources")
            plan = Plan(from_sources, without_sources, accept_other_image_rules)
            info, created = ensure_collection(client, collection, points, model, plan, create)
            schema = fitting_fields(info, points)
            if info.count and not (skip_existing or replace):
                refuse_changes(client, info, points, schema, plan, show=not server.as_json)
            with progress("Importing", points.rows, show=not server.as_json) as advance:
                run = LoadRun(
                    client,
                    collection,
                    points,
                    schema,
                    fingerprint="" if from_sources or points.facts is None else points.facts.fingerprint,
                    skip_existing=skip_existing,
                    from_sources=from_sources,
                    keep_sources=info.keep_sources,
                    may_lose_sources=without_sources,
                    progress=advance,
                )
                with say_if_stopped(lambda: how_to_continue(run, points.rows)):
                    run.run()
            total = client.count(collection)
    except FileError as error:
        raise Failure(f"{printable(file)}: {error}") from error
    server.answer(document(info, file, points, run, created, total), lambda: show(info, points, run, total))
    if run.failures:
        raise SystemExit(ITEMS_FAILED)


def how_to_continue(run: LoadRun, total: int) -> str:
    """The sentence for a run that was stopped; empty if nothing was written."""
    if not run.written:
        return ""
    return (
        f"stopped after {run.done:,} of {total:,} rows; written points stay, and the same command with "
        "--skip-existing continues from there"
    )


def document(
    collection: Collection, file: Path, points: PointFile, run: LoadRun, created: bool, total: int
) -> dict[str, Any]:
    return {
        "collection": collection.name,
        "created": created,
        "model": collection.model.name,
        "fingerprint": collection.model.fingerprint,
        "file": printable(file),
        "rows": points.rows,
        "written": run.written,
        "with_source": run.with_source,
        "keep_sources": collection.keep_sources,
        "skipped": run.skipped,
        "failed": len(run.failures),
        "left_out": list(left_out(collection, points)),
        "left_out_reasons": left_out(collection, points),
        "points": total,
        "seconds": run.seconds,
        "points_per_second": per_second(run.done, run.seconds),
        "errors": [error_facts(name, error) for name, error in run.failures],
    }


def left_out(collection: Collection, file: PointFile) -> dict[str, str]:
    """Columns that are not imported, and why."""
    missing = {
        column: f"{collection.name} has no field {name!r}"
        for name, column in file.columns.payload.items()
        if name not in collection.schema
    }
    return {**file.columns.ignored, **missing}


def show(collection: Collection, file: PointFile, run: LoadRun, total: int) -> None:
    for column, why in left_out(collection, file).items():
        say(f"column {printable(column)} is not imported: {why}", err=True)
    named: list[tuple[str, ClipserveError]] = [(printable(name), error) for name, error in run.failures]
    show_errors(named)
    sources = f", {run.with_source:,} with their source" if collection.keep_sources else ""
    skipped = f", {run.skipped:,} existed already" if run.skipped else ""
    failed = f", {len(run.failures):,} failed" if run.failures else ""
    say(
        f"wrote {run.written:,} of {file.rows:,} points in {run.seconds:.1f} s "
        f"({per_second(run.done, run.seconds):,.1f} points/s){sources}{skipped}{failed}; "
        f"{collection.name} has {total:,} points now"
    )
