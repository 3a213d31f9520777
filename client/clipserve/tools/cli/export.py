"""`clipserve export`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from clipserve.client import Client
from clipserve.filters.conditions import Filter
from clipserve.tools.cli.common import need_pyarrow, read_filter, shown
from clipserve.tools.cli.errors import Failure
from clipserve.tools.cli.options import OUT, Server, filter_option, server_options
from clipserve.tools.cli.output import per_second, print_json, progress
from clipserve.tools.cli.terminal import say
from clipserve.types import Collection


@click.command()
@click.option("--collection", "-c", required=True, metavar="NAME", help="The collection to export.")
@click.argument("file", type=OUT, metavar="FILE.parquet")
@filter_option
@click.option("--sources", is_flag=True, help="Also what the points were made of, where it is kept.")
@server_options
def export(collection: str, file: Path, filter_text: str | None, sources: bool, server: Server) -> None:
    """Write the points of a collection into a Parquet file.

    It has a row for each point: id, embedding, source_uri, and payload_<field> for each field, typed; and it
    says which model made the embeddings. `clipserve import` makes a collection of it again; pandas, DuckDB,
    Spark and the like read it as it is. FILE appears when it is whole. Points that are written meanwhile may
    be in it or not. Aliases and label sets are not in it: `clipserve-gateway backup` saves a whole store.

    \b
    Examples:
      clipserve export -c holiday holiday.parquet
      clipserve export -c holiday sea.parquet --filter 'folder == "sea" and bytes > 100000'
      clipserve export -c holiday backup.parquet --sources
    """
    need_pyarrow()
    with server.client(patient=True) as client:
        found = client.get_collection(collection)
        if sources and not found.keep_sources:
            raise Failure(f"{collection} does not keep its sources; leave out --sources")
        if found.keep_sources and not sources:
            say(
                f"{collection} keeps its sources; the file will not have them: add --sources for a file that "
                "restores the collection whole",
                err=True,
            )
        condition = read_filter(filter_text, found.schema)
        start = time.perf_counter()
        points, with_source = write(client, found, file, condition, sources=sources, show=not server.as_json)
        seconds = time.perf_counter() - start
    facts: dict[str, Any] = {
        "collection": found.name,
        "model": found.model.name,
        "fingerprint": found.model.fingerprint,
        "file": shown(file),
        "points": points,
        "bytes": file.stat().st_size,
        "schema": dict(found.schema),
        "sources": sources,
        "points_with_source": with_source,
        "seconds": seconds,
        "points_per_second": per_second(points, seconds),
    }
    if server.as_json:
        print_json(facts)
    else:
        say(
            f"wrote {points:,} points of {found.name} to {shown(file)} ({facts['bytes'] / 1e6:,.1f} MB) "
            f"in {seconds:.1f} s ({facts['points_per_second']:,.1f} points/s)"
            + (f", {with_source:,} with their source" if sources else "")
        )


def write(
    client: Client, found: Collection, file: Path, condition: Filter | None, *, sources: bool, show: bool
) -> tuple[int, int]:
    """Writes the points, page by page; how many they were, and how many of them with their source."""
    from clipserve.tools.parquet.layout import FileError, FileFacts
    from clipserve.tools.parquet.write import writing

    facts = FileFacts(
        collection=found.name,
        model=found.model.name,
        fingerprint=found.model.fingerprint,
        dim=found.model.embed_dim,
        metric=found.metric,
        schema=found.schema,
        keep_sources=found.keep_sources,
        create_time=found.create_time.isoformat(),
        sources=sources,
        index_options=asdict(found.index_options),
    )
    total = client.count(found.name, condition)
    written = with_source = 0
    try:
        with progress("Exporting", total, show=show) as advance, writing(file, facts) as writer:
            for point in client.scroll(
                found.name, filter=condition, with_embeddings=True, with_sources=sources
            ):
                writer.add(point)
                written += 1
                with_source += point.image is not None or point.text is not None
                advance(written)
    except FileError as error:
        raise Failure(f"{shown(file)}: {error}") from error
    return written, with_source
