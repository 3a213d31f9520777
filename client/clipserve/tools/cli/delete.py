"""`clipserve delete`."""

from __future__ import annotations

import click

from clipserve.tools.cli.common import read_filter
from clipserve.tools.cli.options import Server, filter_option, server_options, yes_option
from clipserve.tools.cli.stdin import LIST_OR_STDIN, STDIN, text_of
from clipserve.tools.cli.terminal import confirm


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...", type=LIST_OR_STDIN)
@click.option("--collection", "-c", required=True, metavar="NAME", help="Collection to delete from.")
@filter_option
@yes_option
@server_options
def delete(ids: tuple[str, ...], collection: str, filter_text: str | None, yes: bool, server: Server) -> None:
    """Delete points of a collection by ID or by condition.

    - reads IDs from standard input, one a line, and needs --yes. Files are never deleted.

    \b
    Examples:
      clipserve delete -c holiday sea/a.jpg sea/b.jpg
      clipserve delete -c holiday --yes - < ids.txt
      clipserve delete -c holiday --filter 'folder == "sea" and modified < "2020-01-01"'
    """
    if bool(ids) == (filter_text is not None):
        raise click.UsageError("give the points to delete either by ID or with --filter")
    if str(STDIN) in ids:
        if not yes:
            raise click.UsageError(
                "IDs from standard input need --yes, as the confirmation is read from there too"
            )
        ids = tuple(id for given in ids for id in (ids_of_stdin() if given == str(STDIN) else [given]))
    with server.client() as client:
        condition = None
        count = len(set(ids))
        if filter_text is not None:
            condition = read_filter(filter_text, client.get_collection(collection).schema)
            count = client.count(collection, condition)
        if not yes and count:
            points = "1 point" if count == 1 else f"{count:,} points"
            confirm(f"Delete {points} of {collection}? This cannot be undone.", abort=True)
        if condition is not None:
            deleted = client.delete_points(collection, filter=condition)
        else:
            deleted = client.delete_points(collection, ids)
    server.answer({"collection": collection, "deleted": deleted}, f"deleted {deleted:,} of {count:,} points")


def ids_of_stdin() -> list[str]:
    """The non-empty lines of standard input. Spaces are part of an ID."""
    return [line for line in text_of(STDIN).splitlines() if line]
