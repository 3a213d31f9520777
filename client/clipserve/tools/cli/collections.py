"""`clipserve collections`."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.text import Text

from clipserve.tools.cli import collection_output
from clipserve.tools.cli.aliases import list_aliases, put_alias, unalias
from clipserve.tools.cli.collection_output import document
from clipserve.tools.cli.common import ListByDefault
from clipserve.tools.cli.options import Server, server_options, yes_option
from clipserve.tools.cli.terminal import confirm, console, say, table
from clipserve.types import Collection


@click.group(cls=ListByDefault)
def collections() -> None:
    """List, show, purge and remove collections; set aliases.

    \b
    Examples:
      clipserve collections
      clipserve collections --json
      clipserve collections show holiday
      clipserve collections alias photos holiday
      clipserve collections rm holiday
    """


@collections.command("list")
@server_options
def list_collections(server: Server) -> None:
    """List the collections."""
    with server.client() as client:
        listed = client.list_collections()
    server.answer({"collections": [document(collection) for collection in listed]}, lambda: show(listed))


def show(listed: Sequence[Collection]) -> None:
    if not listed:
        say("no collections; `clipserve index FOLDER -c NAME` creates one")
        return
    rows = table("collection", ("points", "right"), "model", ("dim", "right"), "payload", "created")
    for collection in listed:
        names = Text(collection.name)
        if collection.aliases:
            names.append(f" ({', '.join(collection.aliases)})", "dim")
        rows.add_row(
            names,
            f"{collection.count:,}",
            Text(collection.model.name),
            f"{collection.model.embed_dim}",
            Text(", ".join(collection.schema) or "–"),
            f"{collection.create_time:%Y-%m-%d %H:%M}",
        )
    console().print(rows)


@collections.command("show")
@click.argument("name")
@server_options
def show_one(name: str, server: Server) -> None:
    """Show a collection: schema, index, scores and migration."""
    with server.client() as client:
        collection = client.get_collection(name)
    server.answer(document(collection), lambda: collection_output.show(collection))


@collections.command("rm")
@click.argument("name")
@yes_option
@server_options
def remove(name: str, yes: bool, server: Server) -> None:
    """Remove a collection and all its points. This cannot be undone."""
    with server.client() as client:
        collection = client.get_collection(name)
        if not yes:
            confirm(f"Remove {name} with its {collection.count:,} points? This cannot be undone.", abort=True)
        client.delete_collection(name)
    server.answer({"removed": document(collection)}, f"removed {name} ({collection.count:,} points)")


@collections.command("purge")
@click.argument("name")
@server_options
def purge(name: str, server: Server) -> None:
    """Remove deleted and replaced points from the server's files now.

    By default, the server does this by itself within 15 minutes. Raise --timeout for large collections.
    """
    with server.client() as client:
        client.purge_collection(name)
    server.answer({"purged": name}, f"purged {name}")


for command in (put_alias, unalias, list_aliases):
    collections.add_command(command)
