"""`clipserve-gateway backup` and `clipserve-gateway restore`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import click

from clipserve_gateway.backup.files import Advance, BackupError, Report
from clipserve_gateway.backup.manifest import Manifest
from clipserve_gateway.index.milvus.options import parse_milvus_uri
from clipserve_gateway.settings import Settings

PRIVATE_UMASK = 0o077

data_option = click.option(
    "--data",
    envvar="CLIPSERVE_DATA",
    default=Settings.model_fields["data"].default,
    show_default=True,
    metavar="PLACE",
    help="The store: a folder or s3://BUCKET/FOLDER.  [env: CLIPSERVE_DATA]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="FOLDER")
@data_option
@json_option
def backup(target: Path, data: str, as_json: bool) -> None:
    """Copy a whole store into a new folder while gateways serve it.

    The backup has all collections with their points, sources and migrations, all aliases and all label sets.
    It has every write that was acknowledged before it began; each collection is copied at one point in time.
    FOLDER appears when the backup is complete. Only its owner can read it.

    \b
    clipserve-gateway backup --data /srv/clipserve /backups/monday
    """
    from clipserve_gateway.backup.take import take

    refuse_milvus(data)
    manifest = run(take(data, target.absolute(), bars(show=not as_json)))
    print_summary("backed up", manifest, str(target), as_json)


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER")
@data_option
@click.option("--check", "only_check", is_flag=True, help="Only verify the backup; write nothing.")
@json_option
def restore(source: Path, data: str, only_check: bool, as_json: bool) -> None:
    """Verify a backup and copy it to an empty store.

    Start gateways on the store after that. The command fails if a file of the backup is damaged, missing or
    additional, and if the store is not empty.

    \b
    clipserve-gateway restore /backups/monday --data /srv/clipserve-new
    """
    from clipserve_gateway.backup import restore as restoring

    report = bars(show=not as_json)
    if only_check:
        print_summary("checked", run(restoring.check(source.absolute(), report)), str(source), as_json)
        return
    refuse_milvus(data)
    print_summary("restored", run(restoring.restore(source.absolute(), data, report)), data, as_json)


def refuse_milvus(data: str) -> None:
    """Raises click.ClickException for a store in Milvus."""
    if parse_milvus_uri(data) is None:
        return
    raise click.ClickException(
        "this store is in Milvus, which this command cannot back up. Back up the whole Milvus database with "
        "Milvus's own tools (milvus-lite: stop the gateway and copy the file), or each collection with "
        "`clipserve export`"
    )


def run(work: Coroutine[Any, Any, Manifest]) -> Manifest:
    """The result of the work; a BackupError ends the command."""
    # Lance creates the files, with the modes that the process's umask allows.
    before = os.umask(PRIVATE_UMASK)
    try:
        return asyncio.run(cancel_on_sigterm(work))
    except asyncio.CancelledError:
        raise click.Abort from None
    except BackupError as error:
        raise click.ClickException(str(error)) from error
    finally:
        os.umask(before)


async def cancel_on_sigterm(work: Coroutine[Any, Any, Manifest]) -> Manifest:
    """Runs the work; SIGTERM cancels it as Ctrl-C does, so that it removes partial copies."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def bars(*, show: bool) -> Report:
    """Progress bars on standard error, if that is a terminal."""

    @contextlib.contextmanager
    def bar(what: str, total: int) -> Iterator[Advance]:
        if not (show and sys.stderr.isatty()):
            yield lambda done: None
            return
        progress: Any
        with click.progressbar(length=max(1, total), label=what, file=sys.stderr) as progress:
            yield progress.update

    return bar


def print_summary(done: str, manifest: Manifest, place: str, as_json: bool) -> None:
    """Prints the summary."""
    points = sum(manifest.collections.values())
    facts = {
        "place": place,
        "created": manifest.created,
        "collections": dict(manifest.collections),
        "points": points,
        "aliases": manifest.aliases,
        "label_sets": manifest.label_sets,
        "files": len(manifest.files),
        "bytes": manifest.bytes,
    }
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(
            f"{done} {place}: {len(manifest.collections):,} collections with {points:,} points, "
            f"{manifest.aliases:,} aliases, {manifest.label_sets:,} label sets "
            f"({manifest.bytes / 1e6:,.1f} MB in {len(manifest.files):,} files)"
        )
