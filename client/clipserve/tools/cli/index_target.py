"""The collection that a folder is indexed into, and what has to be settled before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from clipserve import errors
from clipserve.client import Client
from clipserve.tools.cli.common import shown
from clipserve.tools.cli.errors import Failure
from clipserve.tools.cli.output import progress
from clipserve.tools.cli.terminal import confirm, say
from clipserve.tools.indexing.facts import SCHEMA, Picture
from clipserve.tools.indexing.origin import find_others
from clipserve.tools.indexing.prune import find_gone
from clipserve.tools.indexing.reading import ASKED
from clipserve.types import Collection

LISTED_GONE = 5
MAX_PREFIX_BYTES = 256


def check_prefix(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """The prefix; click.BadParameter for one that ids cannot have."""
    if not value.isprintable() or len(value.encode(errors="replace")) > MAX_PREFIX_BYTES:
        raise click.BadParameter(f"it has at most {MAX_PREFIX_BYTES} bytes, all of them printable")
    return value


def ensure_collection(client: Client, name: str, model: str, keep_sources: bool) -> Collection:
    """The collection, made if it is not there; Failure if it is there and made otherwise."""
    try:
        return client.create_collection(name, schema=SCHEMA, model=model, keep_sources=keep_sources)
    except errors.CollectionExists:
        found = client.get_collection(name)
    if model and found.model.name != model:
        raise Failure(
            f"{name} was made with model {found.model.name}; leave out --model, or choose another collection"
        )
    if keep_sources and not found.keep_sources:
        raise Failure(f"{name} was made without --keep-sources; leave it out, or choose another collection")
    refuse_replaced(client, found)
    return found


def refuse_replaced(client: Client, found: Collection) -> None:
    """Failure where the server has not the model that made the collection's embeddings.

    Its pictures would pass as unchanged, and no search finds them.
    """
    served = {model.name: model.ref.fingerprint for model in client.info().models}
    migration = found.migration
    models = [found.model] if migration is None else [migration.source, migration.target]
    for model in models:
        now = served.get(model.name)
        if now == model.fingerprint:
            continue
        has = f"another one of that name ({now[:12]}…)" if now else "no such model"
        what = (
            f"{found.name} holds embeddings of model {model.name} ({model.fingerprint[:12]}…), and the "
            f"server has {has}; nothing was indexed. "
        )
        raise Failure(what + what_to_do(found, model.name if now else "NAME"))


def what_to_do(found: Collection, model: str) -> str:
    """How a collection gets embeddings of a model that is served."""
    command = f"clipserve migrate {found.name}"
    if found.migration is not None and found.migration.state == "switched":
        return f"End its migration first: `{command} --end`"
    if found.migration is not None:
        return (
            f"Its migration to {found.migration.target.name} is under way (`{command} --status`): index "
            "again when that has been switched and ended"
        )
    return (
        f"Embed its points anew with `{command} --to-model {model}`, which needs their sources: kept ones "
        f"(here: {'yes' if found.keep_sources else 'no'}), or files that the server may read "
        "(CLIPSERVE_SOURCE_PREFIXES). Or index into a new collection: --collection OTHER"
    )


def gone_points(
    client: Client,
    found: Collection,
    root: Path,
    pictures: Sequence[Picture],
    unread: Sequence[OSError],
    *,
    sure: bool,
) -> list[str]:
    """Ids of the points to delete at the end. Asks now, so that nobody has to wait for the question."""
    if not {"root", "path"} <= set(found.schema):
        raise Failure(f"{found.name} does not say which points are of which folder; leave out --prune")
    gone = find_gone(client, found.name, root, pictures, [Path(error.filename) for error in unread])
    if gone and not sure:
        names = ", ".join(gone[:LISTED_GONE]) + (", …" if len(gone) > LISTED_GONE else "")
        confirm(
            f"The pictures of {len(gone):,} points are gone from {shown(root)} ({names}). "
            "Delete these points, after indexing?",
            abort=True,
        )
    return gone


def warn_if_blind(found: Collection, fast: bool) -> None:
    """Says that nothing can be passed over, where that is so."""
    if found.count and "content_hash" not in found.schema and not fast:
        say(
            f"{found.name} does not know the contents of its pictures, so every one is embedded again; "
            "--fast passes over those of the same size and time",
            err=True,
        )


def refuse_others(client: Client, found: Collection, pictures: Sequence[Picture], *, show: bool) -> None:
    """Failure where points of another folder have ids of these pictures."""
    with progress("Comparing", len(pictures), show=show) as advance:
        others = find_others(
            client, found.name, pictures, has_roots="root" in found.schema, batch=ASKED, progress=advance
        )
    if others.count:
        names = ", ".join(map(shown, others.names)) + (", …" if others.count > len(others.names) else "")
        raise Failure(
            f"{others.count:,} of the {len(pictures):,} pictures have the id of a point in {found.name} that "
            f"is not from this folder ({names}); nothing was written. Give this folder's pictures ids of "
            "their own with --prefix NAME/, or overwrite those points with --replace"
        )
