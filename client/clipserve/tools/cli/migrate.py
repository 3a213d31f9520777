"""`clipserve migrate`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import click
from rich.text import Text

from clipserve.client import Client
from clipserve.tools.cli.errors import ITEMS_FAILED, Failure
from clipserve.tools.cli.migration_output import document, loss, nothing_embedded, show, show_ready
from clipserve.tools.cli.options import Server, server_options
from clipserve.tools.cli.output import progress
from clipserve.tools.cli.terminal import ask, confirm, error_console, say
from clipserve.types import Collection, Migration

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Choices:
    """What the options of this run allow."""

    switch: bool
    without_failed: bool
    accepted: int
    sure: bool
    show: bool


@click.command()
@click.argument("collection")
@click.option("--to-model", metavar="NAME", help="Start a migration to this model, or watch the running one.")
@click.option(
    "--no-switch", is_flag=True, help="With --to-model: do not switch when the new embeddings are ready."
)
@click.option(
    "--without-failed",
    is_flag=True,
    help="Switch even if some points failed. They are dropped; you type their number to confirm.",
)
@click.option(
    "--accept-dropped",
    metavar="N",
    type=click.IntRange(min=1),
    help="Drop the failed points without asking; N must be their exact number.",
)
@click.option("--status", is_flag=True, help="Show the state of the migration.")
@click.option("--switch", is_flag=True, help="Answer with the new model from now on.")
@click.option("--roll-back", is_flag=True, help="Answer with the old model again.")
@click.option(
    "--end",
    is_flag=True,
    help="End the migration: keep the model that answers now, drop the other's embeddings.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask before switching or ending.")
@server_options
def migrate(
    collection: str,
    to_model: str | None,
    no_switch: bool,
    without_failed: bool,
    accept_dropped: int | None,
    status: bool,
    switch: bool,
    roll_back: bool,
    end: bool,
    yes: bool,
    server: Server,
) -> None:
    """Move COLLECTION to another model without downtime.

    The server embeds every point again, from stored sources or from files that it can read. Meanwhile, writes
    go to both models. When all points are ready, --switch makes the new model answer at once. --roll-back
    makes the old model answer again, until --end drops its embeddings.

    The migration runs on the server: Ctrl-C only stops watching it, and the same command watches it again.

    \b
    Examples:
      clipserve migrate holiday --to-model large
      clipserve migrate holiday --to-model large --no-switch
      clipserve migrate holiday --status
      clipserve migrate holiday --switch --without-failed
      clipserve migrate holiday --switch --accept-dropped 3 --yes
      clipserve migrate holiday --roll-back
      clipserve migrate holiday --end
    """
    chosen = [to_model is not None, status, switch, roll_back, end]
    if sum(chosen) != 1:
        raise click.UsageError("give one of --to-model NAME, --status, --switch, --roll-back and --end")
    if no_switch and to_model is None:
        raise click.UsageError("--no-switch needs --to-model")
    if without_failed and to_model is None and not switch:
        raise click.UsageError("--without-failed needs --to-model or --switch")
    if accept_dropped and not (to_model is not None or switch or roll_back):
        raise click.UsageError("--accept-dropped needs --to-model, --switch or --roll-back")
    choices = Choices(
        switch=not no_switch,
        without_failed=without_failed or bool(accept_dropped),
        accepted=accept_dropped or 0,
        sure=yes,
        show=not server.as_json,
    )
    with server.client(job=True) as client:
        if to_model is not None:
            info = move(client, collection, to_model, choices)
        else:
            info = client.get_collection(collection)
        if switch or (to_model is not None and may_switch(info, choices)):
            info = switch_over(client, info, choices)
        elif roll_back:
            need_migration(info)
            info = client.roll_back_migration(info.name, accept_dropped=choices.accepted)
        elif end:
            info = finish(client, info, choices)
    server.answer(document(info), lambda: show(info))
    if to_model is not None and (nothing_embedded(info) or (choices.switch and is_ready(info))):
        # Only failed points prevent the switch.
        raise SystemExit(ITEMS_FAILED)


def is_ready(collection: Collection) -> bool:
    return collection.migration is not None and collection.migration.state == "ready"


def may_switch(collection: Collection, choices: Choices) -> bool:
    """Whether the migration can be switched, and the options allow it."""
    failed = collection.migration.failed if collection.migration else 0
    return choices.switch and is_ready(collection) and (choices.without_failed or not failed)


def move(client: Client, name: str, model: str, choices: Choices) -> Collection:
    """Starts the migration, unless it runs already, and watches it."""
    info = client.get_collection(name)
    if info.migration is None:
        info = client.start_migration(name, model)
    elif info.migration.target.name != model:
        raise Failure(
            f"{name} has a migration to model {info.migration.target.name}; end it first with "
            f"`clipserve migrate {name} --end`"
        )
    info = watch(client, info, choices.show)
    if info.migration is None:
        raise Failure(f"somebody else ended the migration of {name}")
    return info


def watch(client: Client, collection: Collection, show: bool) -> Collection:
    """Shows a bar until the migration is neither running nor waiting. Ctrl-C stops watching."""
    migration = collection.migration
    if migration is None:
        return collection
    try:
        with progress("Embedding again", migration.total, show=show) as advance:
            tell = once_each(show)
            while migration is not None and migration.state in ("running", "waiting"):
                if nothing_embedded(collection):
                    break
                advance(migration.done)
                tell(f"waiting to retry: {migration.error}" if migration.state == "waiting" else "")
                time.sleep(POLL_SECONDS)
                collection = client.get_collection(collection.name)
                migration = collection.migration
            if migration is not None:
                advance(migration.done)
    except KeyboardInterrupt:
        target = migration.target.name if migration is not None else ""
        say(
            "stopped watching; the migration continues on the server. Watch it again with "
            f"`clipserve migrate {collection.name} --to-model {target}`",
            err=True,
        )
        raise
    return collection


def once_each(show: bool) -> Callable[[str], None]:
    """A function that prints a line on stderr unless it is empty or equals the one before."""
    last = ""

    def tell(line: str) -> None:
        nonlocal last
        if show and line and line != last:
            error_console().print(Text(line, style="yellow"))
        last = line

    return tell


def switch_over(client: Client, collection: Collection, choices: Choices) -> Collection:
    migration = need_migration(collection)
    if migration.failed and not choices.without_failed and migration.state == "ready":
        raise Failure(
            f"not switched: {migration.failed:,} of {collection.count:,} points have no embedding of model "
            f"{migration.target.name} and would be dropped; see `clipserve migrate {collection.name} "
            f"--status`, and switch with --accept-dropped {migration.failed}"
        )
    if choices.show and migration.state == "ready":
        show_ready(migration)
    accepted = choices.accepted
    if migration.failed and not accepted and migration.state == "ready":
        accepted = typed_number(collection, migration, choices)
    elif not choices.sure and not confirm(
        f"Answer searches in {collection.name} with model {migration.target.name} from now on?"
    ):
        say(f"not switched; to switch later: `clipserve migrate {collection.name} --switch`", err=True)
        raise click.Abort
    return client.switch_migration(
        collection.name, without_failed=choices.without_failed, accept_dropped=accepted
    )


def typed_number(collection: Collection, migration: Migration, choices: Choices) -> int:
    """Asks for the number of points to drop. Raises click.Abort for a wrong answer."""
    number = migration.failed
    if choices.sure:
        raise Failure(
            f"not switched: {number:,} of {collection.count:,} points would be dropped, which --yes does "
            f"not confirm; give --accept-dropped {number}"
        )
    question = f"{loss(collection, migration)}. To drop them, type their number or the collection's name"
    if ask(question) in (str(number), collection.name):
        return number
    say(f"not switched; {collection.name} keeps all its points", err=True)
    raise click.Abort


def finish(client: Client, collection: Collection, choices: Choices) -> Collection:
    migration = need_migration(collection)
    switched = migration.state == "switched"
    stays, goes = (migration.target, migration.source) if switched else (migration.source, migration.target)
    if not choices.sure:
        confirm(
            f"{collection.name} keeps model {stays.name}. Drop its embeddings of model {goes.name}? This "
            "cannot be undone.",
            abort=True,
        )
    return client.end_migration(collection.name)


def need_migration(collection: Collection) -> Migration:
    """The migration. Raises Failure if there is none."""
    if collection.migration is None:
        raise Failure(
            f"{collection.name} has no migration; start one with "
            f"`clipserve migrate {collection.name} --to-model NAME`"
        )
    return collection.migration
