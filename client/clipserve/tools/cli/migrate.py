"""`clipserve migrate`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import click
from rich.text import Text

from clipserve.client import Client
from clipserve.tools.cli.errors import ITEMS_FAILED, Failure
from clipserve.tools.cli.migration_words import document, loss, nothing_embedded, show, show_ready
from clipserve.tools.cli.options import Server, server_options
from clipserve.tools.cli.output import print_json, progress
from clipserve.tools.cli.terminal import ask, confirm, error_console, say
from clipserve.types import Collection, Migration

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Ask:
    """What one run of the command may do."""

    switch: bool
    without_failed: bool
    accepted: int
    sure: bool
    show: bool


@click.command()
@click.argument("collection")
@click.option("--to-model", metavar="NAME", help="Begin to move to this model, or go on watching.")
@click.option("--no-switch", is_flag=True, help="With --to-model: stop when the new embeddings are ready.")
@click.option(
    "--without-failed",
    is_flag=True,
    help="Switch although some points failed; asks for their number, as they are dropped.",
)
@click.option(
    "--accept-dropped",
    metavar="N",
    type=click.IntRange(min=1),
    help="Drop the N points that failed without asking; N must be their exact number.",
)
@click.option("--status", is_flag=True, help="Show how far the migration has come.")
@click.option("--switch", is_flag=True, help="Let the new model answer from now on.")
@click.option("--roll-back", is_flag=True, help="Let the old model answer again.")
@click.option(
    "--end", is_flag=True, help="End it: keep the model that answers now, drop the other's embeddings."
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
    """Move COLLECTION to another model, while it goes on answering.

    The server embeds every point anew, from sources that it keeps or reads again, and writes go to both
    models meanwhile. When all is ready the new model can take over from one moment to the next (--switch),
    and the old one can come back as fast (--roll-back), until the migration is ended (--end).

    The work is the server's: Ctrl-C only stops the watching, and the same command watches again.

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
        raise click.UsageError(
            "say what to do, one of --to-model NAME, --status, --switch, --roll-back and --end"
        )
    if no_switch and to_model is None:
        raise click.UsageError("--no-switch goes with --to-model")
    if without_failed and to_model is None and not switch:
        raise click.UsageError("--without-failed goes with --to-model and --switch")
    if accept_dropped and not (to_model is not None or switch or roll_back):
        raise click.UsageError("--accept-dropped goes with --to-model, --switch and --roll-back")
    ask = Ask(
        switch=not no_switch,
        without_failed=without_failed or bool(accept_dropped),
        accepted=accept_dropped or 0,
        sure=yes,
        show=not server.as_json,
    )
    with server.client(patient=True) as client:
        if to_model is not None:
            found = move(client, collection, to_model, ask)
            if may_switch(found, ask):
                found = switch_over(client, found, ask)
        elif switch:
            found = switch_over(client, client.get_collection(collection), ask)
        elif roll_back:
            found = bring_back(client, client.get_collection(collection), ask)
        elif end:
            found = finish(client, client.get_collection(collection), ask)
        else:
            found = client.get_collection(collection)
    if server.as_json:
        print_json(document(found))
    else:
        show(found)
    if to_model is not None and (nothing_embedded(found) or (ask.switch and is_ready(found))):
        # Only points that failed keep it from being ready, or from switching.
        raise SystemExit(ITEMS_FAILED)


def is_ready(found: Collection) -> bool:
    """Whether the migration can be switched."""
    return found.migration is not None and found.migration.state == "ready"


def may_switch(found: Collection, ask: Ask) -> bool:
    """Whether it can be switched, and that was asked for."""
    return bool(
        ask.switch
        and is_ready(found)
        and found.migration
        and (ask.without_failed or not found.migration.failed)
    )


def move(client: Client, name: str, model: str, ask: Ask) -> Collection:
    """Begins the migration or finds it under way, and watches it."""
    found = client.get_collection(name)
    if found.migration is None:
        found = client.start_migration(name, model)
    elif found.migration.target.name != model:
        raise Failure(
            f"{name} is under way to model {found.migration.target.name}; end that first, with "
            f"`clipserve migrate {name} --end`"
        )
    found = watch(client, found, ask.show)
    if found.migration is None:
        raise Failure(f"the migration of {name} was ended while this command watched it")
    return found


def watch(client: Client, found: Collection, show: bool) -> Collection:
    """Waits until the migration neither runs nor waits, with a bar; Ctrl-C ends the watching."""
    migration = found.migration
    if migration is None:
        return found
    try:
        with progress("Embedding anew", migration.total, show=show) as advance:
            tell = once_each(show)
            while migration is not None and migration.state in ("running", "waiting"):
                if nothing_embedded(found):
                    break
                advance(migration.done)
                tell(f"waiting, to try again: {migration.error}" if migration.state == "waiting" else "")
                time.sleep(POLL_SECONDS)
                found = client.get_collection(found.name)
                migration = found.migration
            if migration is not None:
                advance(migration.done)
    except KeyboardInterrupt:
        target = migration.target.name if migration is not None else ""
        say(
            "no longer watching; the server goes on. Watch again with "
            f"`clipserve migrate {found.name} --to-model {target}`",
            err=True,
        )
        raise
    return found


def once_each(show: bool) -> Callable[[str], None]:
    """A function that writes a line on stderr, if it is another one than before and there is any."""
    last = ""

    def tell(line: str) -> None:
        nonlocal last
        if show and line and line != last:
            error_console().print(Text(line, style="yellow"))
        last = line

    return tell


def switch_over(client: Client, found: Collection, choice: Ask) -> Collection:
    """Lets the new model answer, after asking."""
    migration = need_migration(found)
    if migration.failed and not choice.without_failed and migration.state == "ready":
        raise Failure(
            f"{loss(found, migration)} by a switch: they have no embedding by model "
            f"{migration.target.name}; see `clipserve migrate {found.name} --status`, and switch with "
            f"--accept-dropped {migration.failed}"
        )
    if choice.show and migration.state == "ready":
        show_ready(migration)
    accepted = choice.accepted
    if migration.failed and not accepted and migration.state == "ready":
        accepted = typed_number(found, migration, choice)
    elif not choice.sure and not confirm(
        f"Let model {migration.target.name} answer for {found.name} from now on?"
    ):
        say(f"not switched; `clipserve migrate {found.name} --switch` does it", err=True)
        raise click.Abort
    return client.switch_migration(found.name, without_failed=choice.without_failed, accept_dropped=accepted)


def typed_number(found: Collection, migration: Migration, choice: Ask) -> int:
    """The number of points that may be dropped, typed by a person; Abort for anything else."""
    number = migration.failed
    if choice.sure:
        raise Failure(
            f"{loss(found, migration)} by this switch, and --yes does not answer for that: give "
            f"--accept-dropped {number}"
        )
    question = f"{loss(found, migration)}. Type their number, or the collection's name, to drop them"
    if ask(question) in (str(number), found.name):
        return number
    say(f"not switched; {found.name} keeps all its points", err=True)
    raise click.Abort


def bring_back(client: Client, found: Collection, ask: Ask) -> Collection:
    """Lets the old model answer."""
    need_migration(found)
    return client.roll_back_migration(found.name, accept_dropped=ask.accepted)


def finish(client: Client, found: Collection, ask: Ask) -> Collection:
    """Ends the migration, after asking."""
    migration = need_migration(found)
    switched = migration.state == "switched"
    stays, goes = (migration.target, migration.source) if switched else (migration.source, migration.target)
    if not ask.sure:
        confirm(
            f"{found.name} stays with model {stays.name}; drop its embeddings by {goes.name} for good?",
            abort=True,
        )
    return client.end_migration(found.name)


def need_migration(found: Collection) -> Migration:
    """The migration; Failure if there is none."""
    if found.migration is None:
        raise Failure(
            f"{found.name} has no migration; begin one with `clipserve migrate {found.name} --to-model NAME`"
        )
    return found.migration
