"""`clipserve collections alias`, `unalias` and `aliases`."""

from __future__ import annotations

import click
from rich.text import Text

from clipserve.tools.cli.options import Server, server_options
from clipserve.tools.cli.terminal import console, say, table


@click.command("alias")
@click.argument("name")
@click.argument("collection")
@server_options
def put_alias(name: str, collection: str, server: Server) -> None:
    """Point the alias NAME to COLLECTION.

    Every command accepts an alias in place of a collection. Let searches use the alias, index into a new
    collection, then point the alias to the new one.

    \b
    Examples:
      clipserve collections alias photos photos_2024
      clipserve search "a red car" -c photos
    """
    with server.client() as client:
        before = client.put_alias(name, collection)
    server.answer(
        {"alias": name, "collection": collection, "previous_collection": before or None},
        f"{name} now points to {collection}" + (f" (before: {before})" if before else ""),
    )


@click.command()
@click.argument("name")
@server_options
def unalias(name: str, server: Server) -> None:
    """Remove an alias. The collection remains."""
    with server.client() as client:
        client.delete_alias(name)
    server.answer({"removed": name}, f"removed alias {name}")


@click.command("aliases")
@server_options
def list_aliases(server: Server) -> None:
    """List the aliases and their collections."""
    with server.client() as client:
        aliases = client.list_aliases()
    rows = table("alias", "collection")
    for alias, collection in aliases.items():
        rows.add_row(Text(alias), Text(collection))
    none = "no aliases; `clipserve collections alias NAME COLLECTION` creates one"
    server.answer({"aliases": aliases}, lambda: console().print(rows) if aliases else say(none))
