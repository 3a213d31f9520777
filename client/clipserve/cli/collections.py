"""`clipserve collections`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.text import Text

from clipserve.cli.options import Server, server_options
from clipserve.cli.output import console, print_json, table
from clipserve.types import Collection


class ListByDefault(click.Group):
    """A group whose first command is `list`, also where only options are given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `list` in front where no command is named."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ListByDefault)
def collections() -> None:
    """List or remove collections.

    \b
    Examples:
      clipserve collections
      clipserve collections --json
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
        click.echo("no collections; `clipserve index FOLDER -c NAME` makes one")
        return
    made = table("collection", ("points", "right"), "model", ("dim", "right"), "payload", "made")
    for collection in found:
        made.add_row(
            Text(collection.name),
            f"{collection.count:,}",
            Text(collection.model.name),
            f"{collection.model.embed_dim}",
            Text(", ".join(collection.schema) or "–"),
            f"{collection.create_time:%Y-%m-%d %H:%M}",
        )
    console().print(made)


def document(collection: Collection) -> dict[str, Any]:
    """One collection for machines."""
    return {
        "name": collection.name,
        "count": collection.count,
        "model": collection.model.name,
        "fingerprint": collection.model.fingerprint,
        "dim": collection.model.embed_dim,
        "metric": collection.metric,
        "schema": dict(collection.schema),
        "create_time": collection.create_time.isoformat(),
    }


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
            click.confirm(
                f"Remove {name} with its {collection.count:,} points for good?", abort=True, err=True
            )
        client.delete_collection(name)
    if server.as_json:
        print_json({"removed": document(collection)})
    else:
        click.echo(f"removed {name} ({collection.count:,} points)")
