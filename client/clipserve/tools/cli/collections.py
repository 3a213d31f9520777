"""`clipserve collections`."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.text import Text

from clipserve.tools.cli import collection_facts
from clipserve.tools.cli.aliases import list_aliases, put_alias, unalias
from clipserve.tools.cli.collection_facts import document
from clipserve.tools.cli.common import ListByDefault
from clipserve.tools.cli.options import Server, server_options
from clipserve.tools.cli.output import print_json
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
        found = client.list_collections()
    if server.as_json:
        print_json({"collections": [document(collection) for collection in found]})
    else:
        show(found)


def show(found: Sequence[Collection]) -> None:
    """A table."""
    if not found:
        say("no collections; `clipserve index FOLDER -c NAME` makes one")
        return
    made = table("collection", ("points", "right"), "model", ("dim", "right"), "payload", "made")
    for collection in found:
        names = Text(collection.name)
        if collection.aliases:
            names.append(f" ({', '.join(collection.aliases)})", "dim")
        made.add_row(
            names,
            f"{collection.count:,}",
            Text(collection.model.name),
            f"{collection.model.embed_dim}",
            Text(", ".join(collection.schema) or "–"),
            f"{collection.create_time:%Y-%m-%d %H:%M}",
        )
    console().print(made)


@collections.command("show")
@click.argument("name")
@server_options
def show_one(name: str, server: Server) -> None:
    """Show a collection: schema, index, scores and migration."""
    with server.client() as client:
        found = client.get_collection(name)
    if server.as_json:
        print_json(document(found))
    else:
        collection_facts.show(found)


@collections.command("rm")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@server_options
def remove(
    name: str,
    yes: bool,
    server: Server,
) -> None:
    """Remove a collection and all its points, for good."""
    with server.client() as client:
        collection = client.get_collection(name)
        if not yes:
            confirm(
                f"Remove {name} with its {collection.count:,} points for good?",
                abort=True,
            )
        client.delete_collection(name)
    if server.as_json:
        print_json({"removed": document(collection)})
    else:
        say(f"removed {name} ({collection.count:,} points)")


@collections.command("purge")
@click.argument("name")
@server_options
def purge(name: str, server: Server) -> None:
    """Take deleted points out of the server's files now.

    Replaced points too. Without this it happens by itself within 15 minutes, unless the server is set
    otherwise. Raise --timeout for large collections.
    """
    with server.client() as client:
        client.purge_collection(name)
    if server.as_json:
        print_json({"purged": name})
    else:
        say(f"purged {name}")


for command in (put_alias, unalias, list_aliases):
    collections.add_command(command)
