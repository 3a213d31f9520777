"""`clipserve export`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from clipserve.client import Client
from clipserve.filters.conditions import Filter
from clipserve.tools.cli.common import need_pyarrow, read_filter
from clipserve.tools.cli.errors import Failure
from clipserve.tools.cli.options import OUT, Server, filter_option, server_options
from clipserve.tools.cli.output import per_second, progress
from clipserve.tools.cli.terminal import say
from clipserve.tools.indexing.facts import printable
from clipserve.types import Collection


@click.command()
@click.option("--collection", "-c", required=True, metavar="NAME", help="Collection to export.")
@click.argument("file", type=OUT, metavar="FILE.parquet")
@filter_option
@click.option(
    "--sources", is_flag=True, help="Write the sources of the points too, if the collection keeps them."
)
@server_options
def export(collection: str, file: Path, filter_text: str | None, sources: bool, server: Server) -> None:
    """Write the points of a collection into a Parquet file.

    The file has a row for each point, with id, embedding, source_uri and a typed column payload_<field> for
    each field. Its metadata names the model. `clipserve import` restores the collection from it; pandas,
    DuckDB and Spark can read it too. FILE appears when it is complete. It may lack points that are written
    during the export. It has no aliases or label sets: `clipserve-gateway backup` saves a whole store.

    \b
    Examples:
      clipserve export -c holiday holiday.parquet
      clipserve export -c holiday sea.parquet --filter 'folder == "sea" and bytes > 100000'
      clipserve export -c holiday backup.parquet --sources
    """
    need_pyarrow()
    with server.client(job=True) as client:
        info = client.get_collection(collection)
        if sources and not info.keep_sources:
            raise Failure(f"{collection} does not keep sources; leave out --sources")
        if info.keep_sources and not sources:
            say(
                f"{collection} keeps sources, but the file will not have them; add --sources for a file that "
                "restores the whole collection",
                err=True,
            )
        condition = read_filter(filter_text, info.schema)
        start = time.perf_counter()
        points, with_source = write(client, info, file, condition, sources=sources, show=not server.as_json)
        seconds = time.perf_counter() - start
    facts: dict[str, Any] = {
        "collection": info.name,
        "model": info.model.name,
        "fingerprint": info.model.fingerprint,
        "file": printable(file),
        "points": points,
        "bytes": file.stat().st_size,
        "schema": dict(info.schema),
        "sources": sources,
        "points_with_source": with_source,
        "seconds": seconds,
        "points_per_second": per_second(points, seconds),
    }
    server.answer(
        facts,
        f"wrote {points:,} points of {info.name} to {printable(file)} ({facts['bytes'] / 1e6:,.1f} MB) "
        f"in {seconds:.1f} s ({facts['points_per_second']:,.1f} points/s)"
        + (f", {with_source:,} with their source" if sources else ""),
    )


def write(
    client: Client, collection: Collection, file: Path, condition: Filter | None, *, sources: bool, show: bool
) -> tuple[int, int]:
    """Writes the points; the number of points, and of those with a source."""
    from clipserve.tools.parquet.layout import FileError, FileFacts
    from clipserve.tools.parquet.write import writing

    facts = FileFacts(
        collection=collection.name,
        model=collection.model.name,
        fingerprint=collection.model.fingerprint,
        dim=collection.model.embed_dim,
        metric=collection.metric,
        schema=collection.schema,
        keep_sources=collection.keep_sources,
        create_time=collection.create_time.isoformat(),
        sources=sources,
        index_options=asdict(collection.index_options),
        image_rules=asdict(collection.image_rules),
    )
    total = client.count(collection.name, condition)
    written = with_source = 0
    try:
        with progress("Exporting", total, show=show) as advance, writing(file, facts) as writer:
            for point in client.scroll(
                collection.name, filter=condition, with_embeddings=True, with_sources=sources
            ):
                writer.add(point)
                written += 1
                with_source += point.image is not None or point.text is not None
                advance(written)
    except FileError as error:
        raise Failure(f"{printable(file)}: {error}") from error
    return written, with_source
