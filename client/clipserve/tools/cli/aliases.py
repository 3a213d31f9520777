"""`clipserve collections alias`, `unalias` and `aliases`."""

from __future__ import annotations

import click
from rich.text import Text

from clipserve.tools.cli.options import Server, server_options
from clipserve.tools.cli.output import print_json
from clipserve.tools.cli.terminal import console, say, table


@click.command("alias")
@click.argument("name")
@click.argument("collection")
@server_options
def put_alias(name: str, collection: str, server: Server) -> None:
    """Let NAME mean COLLECTION, from this moment on.

    Wherever a collection is named an alias does as well: let searches name the alias, index into a new
    collection, and then let the alias mean that one.

    \b
    Examples:
      clipserve collections alias photos photos_2024
      clipserve search "a red car" -c photos
    """
    with server.client() as client:
        before = client.put_alias(name, collection)
    if server.as_json:
        print_json({"alias": name, "collection": collection, "previous_collection": before or None})
    else:
        say(f"{name} means {collection} now" + (f" (before: {before})" if before else ""))


@click.command()
@click.argument("name")
@server_options
def unalias(name: str, server: Server) -> None:
    """Remove an alias; the collection stays."""
    with server.client() as client:
        client.delete_alias(name)
    if server.as_json:
        print_json({"removed": name})
    else:
        say(f"removed alias {name}")


@click.command("aliases")
@server_options
def list_aliases(server: Server) -> None:
    """List the aliases and what they mean."""
    with server.client() as client:
        found = client.list_aliases()
    if server.as_json:
        print_json({"aliases": found})
    elif not found:
        say("no aliases; `clipserve collections alias NAME COLLECTION` makes one")
    else:
        made = table("alias", "collection")
        for alias, collection in found.items():
            made.add_row(Text(alias), Text(collection))
        console().print(made)
