"""`clipserve-gateway store`: lists orphaned tables, and repairs the catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.engines import engine_of
from clipserve_gateway.index.lance.sync import local_folder
from clipserve_gateway.index.milvus.options import parse_milvus_uri
from clipserve_gateway.options import Command, settings_from, settings_options
from clipserve_gateway.settings import Settings
from clipserve_gateway.store import repair

T = TypeVar("T")


def store_options() -> Callable[[Command], Command]:
    """The options for the location of the store."""
    names = [name for name in Settings.model_fields if not name.startswith("milvus_")]
    return settings_options(without=set(names) - {"data", "sync_writes"})


def check_is_store(uri: str) -> None:
    """Raises click.ClickException for a local folder without tables, which is probably a wrong --data."""
    folder = local_folder(uri) if parse_milvus_uri(uri) is None else None
    if folder is not None and not any(folder.glob("*.lance")):
        raise click.ClickException(
            f"there is no store in {uri}; give its folder with --data or CLIPSERVE_DATA"
        )


def on_engine(options: dict[str, Any], work: Callable[[Engine], Awaitable[T]]) -> T:
    """The result of `work` with the engine; its errors end the command."""
    settings = settings_from(options)
    check_is_store(settings.data)

    async def run() -> T:
        engine = engine_of(settings)
        try:
            return await work(engine)
        finally:
            await engine.close()

    try:
        return asyncio.run(run())
    except ClipserveError as error:
        raise click.ClickException(error.message) from error


@click.group()
def store() -> None:
    """Repair a store: a lost catalog, tables without a collection."""


@store.command()
@click.option("--delete", "delete", metavar="NAME", help="Delete this table with its points permanently.")
@click.option("--accept", "accept", metavar="NAME", help="Keep this table unused, and allow writes again.")
@store_options()
def orphans(delete: str | None, accept: str | None, **options: Any) -> None:
    """List tables without a collection; delete or accept one.

    The gateway never deletes these tables itself. The command works while gateways run.
    """
    if delete is not None:
        on_engine(options, lambda engine: repair.delete(engine, delete))
        click.echo(f"deleted {delete}")
        return
    if accept is not None:
        on_engine(options, lambda engine: repair.accept(engine, accept))
        click.echo(f"{accept} stays unused")
        return
    orphans = on_engine(options, repair.orphans)
    for orphan in orphans:
        name = orphan.spec.name if orphan.spec else "unknown"
        points = "unknown number of points" if orphan.points is None else f"{orphan.points:,} points"
        why = "left by an interrupted step" if orphan.known else "unknown to the catalog"
        click.echo(f"{orphan.table}: collection {name}, {points}, {why}")
    if not orphans:
        click.echo("every table belongs to a collection")


@store.command()
@click.option("--table", "tables", multiple=True, metavar="NAME", help="Use this one of several tables.")
@store_options()
def rebuild(tables: tuple[str, ...], **options: Any) -> None:
    """Add the collections of lost tables to the catalog again.

    Each table stores the facts of its collection. Aliases and label sets are not stored in tables: create
    them again. The exit code is 1 if tables remain. The command works while gateways run.
    """
    done = on_engine(options, lambda engine: repair.rebuild(engine, tables))
    for name in done.collections:
        click.echo(f"collection {name} is in the catalog again")
    for table, why in done.remaining.items():
        click.echo(f"{table} was skipped: {why}", err=True)
    if not done.collections and not done.remaining:
        click.echo("every table belongs to a collection")
    if done.remaining:
        raise SystemExit(1)


@store.command()
@click.argument("collection")
@store_options()
def forget(collection: str, **options: Any) -> None:
    """Remove a collection from the catalog after its table was lost.

    If only the table of its migration was lost, the migration ends and the collection stays.
    """
    click.echo(on_engine(options, lambda engine: repair.forget(engine, collection)))
