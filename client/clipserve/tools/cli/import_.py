"""`clipserve import`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipserve.errors import ClipserveError
from clipserve.tools.cli.common import need_pyarrow, shown
from clipserve.tools.cli.errors import ITEMS_FAILED, Failure
from clipserve.tools.cli.import_target import Plan, ensure_collection, fitting_fields, refuse_changes
from clipserve.tools.cli.options import Server, server_options
from clipserve.tools.cli.output import error_facts, per_second, print_json, progress, show_errors
from clipserve.tools.cli.stdin import FILE_OR_STDIN, file_of
from clipserve.tools.cli.terminal import say
from clipserve.types import Collection

if TYPE_CHECKING:
    from clipserve.tools.parquet.load import LoadRun
    from clipserve.tools.parquet.read import PointFile


@click.command("import")
@click.argument("file", type=FILE_OR_STDIN, metavar="FILE.parquet")
@click.option("--collection", "-c", required=True, metavar="NAME", help="Where the points go.")
@click.option(
    "--create/--no-create", default=True, show_default=True, help="Make the collection if it is not there."
)
@click.option(
    "--model",
    default="",
    metavar="NAME",
    help="Model of a new collection.  [default: the file's, else the server's]",
)
@click.option("--skip-existing", is_flag=True, help="Leave points alone whose ids are there already.")
@click.option("--from-sources", is_flag=True, help="Embed anew, from the sources in the file.")
@click.option("--replace", is_flag=True, help="Overwrite points of the same ids whose content differs.")
@click.option(
    "--without-sources",
    is_flag=True,
    help="Leave out sources: those that the file lacks, or the collection does not keep. Points that are "
    "overwritten lose theirs.",
)
@click.option("--id-column", default="id", show_default=True, metavar="NAME", help="Column of the ids.")
@click.option(
    "--embedding-column",
    default="embedding",
    show_default=True,
    metavar="NAME",
    help="Column of the embeddings, lists of numbers.",
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
    id_column: str,
    embedding_column: str,
    server: Server,
) -> None:
    """Write the points of a Parquet file into a collection.

    Files of `clipserve export` know their schema and the model that made their embeddings; a collection of
    another model refuses them, unless they hold sources to embed anew. Other files need a column of ids and
    one of embeddings; their other columns become payload fields as far as their types have one meaning there
    (the others are named, with the reason). Of several rows with one id, the first is written and the others
    are listed as failed.

    Embeddings are normalized by the server; those of an export arrive bit by bit. What points were made of
    is restored where the file has it (`clipserve export --sources`) and the collection keeps it.

    The command may be repeated after Ctrl-C or a failure. Points that are there already with another content
    are not overwritten without --replace, and sources are not lost without --without-sources.

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
            server.client(patient=True) as client,
        ):
            if from_sources and points.columns.source is None:
                raise FileError("it has no sources; export it with --sources, or leave out --from-sources")
            plan = Plan(from_sources, without_sources)
            found, created = ensure_collection(client, collection, points, model, plan, create)
            schema = fitting_fields(found, points)
            if found.count and not (skip_existing or replace):
                refuse_changes(client, found, points, schema, plan, show=not server.as_json)
            with progress("Importing", points.rows, show=not server.as_json) as advance:
                run = LoadRun(
                    client,
                    collection,
                    points,
                    schema,
                    fingerprint="" if from_sources or points.facts is None else points.facts.fingerprint,
                    skip_existing=skip_existing,
                    from_sources=from_sources,
                    keep_sources=found.keep_sources,
                    may_lose_sources=without_sources,
                    progress=advance,
                )
                with how_to_go_on(run, points.rows):
                    run.run()
            total = client.count(collection)
    except FileError as error:
        raise Failure(f"{shown(file)}: {error}") from error
    if server.as_json:
        print_json(document(found, file, points, run, created, total))
    else:
        show(found, points, run, total)
    if run.failures:
        raise SystemExit(ITEMS_FAILED)


@contextmanager
def how_to_go_on(run: LoadRun, total: int) -> Iterator[None]:
    """Says so where the run is stopped."""
    try:
        yield
    except BaseException:
        if run.written:
            say(
                f"stopped after {run.done:,} of {total:,} rows; what was written stays, and the same "
                "command with --skip-existing goes on from there",
                err=True,
            )
        raise


def document(
    found: Collection, file: Path, points: PointFile, run: LoadRun, created: bool, total: int
) -> dict[str, Any]:
    """The summary for machines."""
    return {
        "collection": found.name,
        "created": created,
        "model": found.model.name,
        "fingerprint": found.model.fingerprint,
        "file": shown(file),
        "rows": points.rows,
        "written": run.written,
        "with_source": run.with_source,
        "keep_sources": found.keep_sources,
        "skipped": run.skipped,
        "failed": len(run.failures),
        "left_out": list(left_out(found, points)),
        "left_out_reasons": left_out(found, points),
        "points": total,
        "seconds": run.seconds,
        "points_per_second": per_second(run.done, run.seconds),
        "errors": [error_facts(name, error) for name, error in run.failures],
    }


def left_out(found: Collection, file: PointFile) -> dict[str, str]:
    """Columns that were not read, and why."""
    missing = {
        column: f"{found.name} has no field {name!r}"
        for name, column in file.columns.payload.items()
        if name not in found.schema
    }
    return {**file.columns.ignored, **missing}


def show(found: Collection, file: PointFile, run: LoadRun, total: int) -> None:
    """The summary."""
    for column, why in left_out(found, file).items():
        say(f"column {shown(column)} is left out: {why}", err=True)
    named: list[tuple[str, ClipserveError]] = [(shown(name), error) for name, error in run.failures]
    show_errors(named)
    sources = f", {run.with_source:,} with their source" if found.keep_sources else ""
    skipped = f", {run.skipped:,} were there already" if run.skipped else ""
    failed = f", {len(run.failures):,} failed" if run.failures else ""
    say(
        f"wrote {run.written:,} of {file.rows:,} points in {run.seconds:.1f} s "
        f"({per_second(run.done, run.seconds):,.1f} points/s){sources}{skipped}{failed}; "
        f"{found.name} has {total:,} points now"
    )
