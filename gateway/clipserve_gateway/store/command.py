"""`clipserve-gateway store`: looks at the store's tables, and repairs the catalog."""

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
    """The settings that say where the store is."""
    names = [name for name in Settings.model_fields if not name.startswith("milvus_")]
    return settings_options(without=set(names) - {"data", "sync_writes"})


def check_is_store(uri: str) -> None:
    """Refuses a local folder without tables: a wrong --data must not look like a store where all is well."""
    folder = local_folder(uri) if parse_milvus_uri(uri) is None else None
    if folder is not None and not any(folder.glob("*.lance")):
        raise click.ClickException(
            f"there is no store in {uri}: name its folder with --data or CLIPSERVE_DATA"
        )


def on_engine(options: dict[str, Any], work: Callable[[Engine], Awaitable[T]]) -> T:
    """Does something with the engine; its errors end the command."""
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
@click.option("--delete", "delete", metavar="NAME", help="Delete this table and its points, for good.")
@click.option("--accept", "accept", metavar="NAME", help="Keep this table out of use; writes go on then.")
@store_options()
def orphans(delete: str | None, accept: str | None, **options: Any) -> None:
    """List tables without a collection; delete or accept one.

    The gateway never deletes them by itself. Works while gateways run.
    """
    if delete is not None:
        on_engine(options, lambda engine: repair.delete(engine, delete))
        click.echo(f"deleted {delete}")
        return
    if accept is not None:
        on_engine(options, lambda engine: repair.accept(engine, accept))
        click.echo(f"{accept} is kept out of use")
        return
    found = on_engine(options, repair.orphans)
    for orphan in found:
        name = orphan.spec.name if orphan.spec else "not known"
        points = "points not known" if orphan.points is None else f"{orphan.points:,} points"
        why = "left by an interrupted step" if orphan.known else "not known to the catalog"
        click.echo(f"{orphan.table}: collection {name}, {points}, {why}")
    if not found:
        click.echo("every table belongs to a collection")


@store.command()
@click.option("--table", "tables", multiple=True, metavar="NAME", help="Take this one of several tables.")
@store_options()
def rebuild(tables: tuple[str, ...], **options: Any) -> None:
    """List the collections again whose tables the catalog has lost.

    Each table says what collection it was made for. Aliases and label sets are not kept in tables: put them
    again. Exit code 1 where tables are left. Works while gateways run.
    """
    done = on_engine(options, lambda engine: repair.rebuild(engine, tables))
    for name in done.collections:
        click.echo(f"collection {name} is listed again")
    for table, why in done.left.items():
        click.echo(f"{table} is left: {why}", err=True)
    if not done.collections and not done.left:
        click.echo("every table belongs to a collection")
    if done.left:
        raise SystemExit(1)


@store.command()
@click.argument("collection")
@store_options()
def forget(collection: str, **options: Any) -> None:
    """Take a collection off the catalog after its table was lost.

    Where only the table of its migration was lost, that migration ends.
    """
    click.echo(on_engine(options, lambda engine: repair.forget(engine, collection)))
