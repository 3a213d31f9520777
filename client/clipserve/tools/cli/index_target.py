"""The collection that a folder is indexed into, and the checks before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from clipserve import errors
from clipserve.client import Client
from clipserve.tools.cli.errors import Failure
from clipserve.tools.cli.output import progress
from clipserve.tools.cli.terminal import confirm, say
from clipserve.tools.indexing.facts import SCHEMA, Picture, printable
from clipserve.tools.indexing.origin import find_others
from clipserve.tools.indexing.prune import find_gone
from clipserve.tools.indexing.reading import LOOKUP_BATCH
from clipserve.types import Collection

LISTED_GONE = 5
MAX_PREFIX_BYTES = 256


def check_prefix(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """The prefix. Raises click.BadParameter if ids cannot begin with it."""
    if not value.isprintable() or len(value.encode(errors="replace")) > MAX_PREFIX_BYTES:
        raise click.BadParameter(f"the prefix must be printable and at most {MAX_PREFIX_BYTES} bytes long")
    return value


def ensure_collection(client: Client, name: str, model: str, keep_sources: bool) -> Collection:
    """The collection, created if it does not exist. Raises Failure if its model or sources differ."""
    try:
        return client.create_collection(name, schema=SCHEMA, model=model, keep_sources=keep_sources)
    except errors.CollectionExists:
        collection = client.get_collection(name)
    if model and collection.model.name != model:
        raise Failure(
            f"{name} has model {collection.model.name}; leave out --model, or choose another collection"
        )
    if keep_sources and not collection.keep_sources:
        raise Failure(f"{name} does not keep sources; leave out --keep-sources, or choose another collection")
    refuse_replaced(client, collection)
    return collection


def refuse_replaced(client: Client, collection: Collection) -> None:
    """Raises Failure if the server does not serve the model of the collection's embeddings.

    Otherwise its pictures would count as unchanged, but no search would find them.
    """
    served = {model.name: model.ref.fingerprint for model in client.info().models}
    migration = collection.migration
    models = [collection.model] if migration is None else [migration.source, migration.target]
    for model in models:
        now = served.get(model.name)
        if now == model.fingerprint:
            continue
        served_now = f"another model of that name ({now[:12]}…)" if now else "no model of that name"
        problem = (
            f"{collection.name} has embeddings of model {model.name} ({model.fingerprint[:12]}…), but the "
            f"server serves {served_now}; nothing was indexed. "
        )
        raise Failure(problem + what_to_do(collection, model.name if now else "NAME"))


def what_to_do(collection: Collection, model: str) -> str:
    """How the collection gets embeddings of a model that the server serves."""
    command = f"clipserve migrate {collection.name}"
    if collection.migration is not None and collection.migration.state == "switched":
        return f"End its migration first: `{command} --end`"
    if collection.migration is not None:
        return (
            f"Its migration to {collection.migration.target.name} is running (`{command} --status`): index "
            "again after you have switched and ended it"
        )
    return (
        f"Embed its points again with `{command} --to-model {model}`. This needs the sources of the points: "
        f"stored ones ({'it has them' if collection.keep_sources else 'it has none'}), or files that the "
        "server may read (CLIPSERVE_SOURCE_PREFIXES). Or index into a new collection: --collection OTHER"
    )


def gone_points(
    client: Client,
    collection: Collection,
    root: Path,
    pictures: Sequence[Picture],
    unread: Sequence[OSError],
    *,
    sure: bool,
) -> list[str]:
    """Ids of the points to delete after indexing. Asks for confirmation first, as indexing takes long."""
    if not {"root", "path"} <= set(collection.schema):
        raise Failure(f"{collection.name} does not store the folder of its points; leave out --prune")
    gone = find_gone(client, collection.name, root, pictures, [Path(error.filename) for error in unread])
    if gone and not sure:
        names = ", ".join(gone[:LISTED_GONE]) + (", …" if len(gone) > LISTED_GONE else "")
        confirm(
            f"The pictures of {len(gone):,} points are gone from {printable(root)} ({names}). "
            "Delete these points after indexing?",
            abort=True,
        )
    return gone


def warn_if_all_embedded_again(collection: Collection, fast: bool) -> None:
    """Warns if the collection lacks the field that tells unchanged pictures."""
    if collection.count and "content_hash" not in collection.schema and not fast:
        say(
            f"{collection.name} has no field content_hash, so every picture is embedded again; "
            "--fast skips pictures whose size and time have not changed",
            err=True,
        )


def refuse_taken_ids(
    client: Client, collection: Collection, pictures: Sequence[Picture], *, show: bool
) -> None:
    """Raises Failure if points of another folder have ids of these pictures."""
    with progress("Comparing", len(pictures), show=show) as advance:
        others = find_others(
            client,
            collection.name,
            pictures,
            has_roots="root" in collection.schema,
            batch=LOOKUP_BATCH,
            progress=advance,
        )
    if others.count:
        names = ", ".join(map(printable, others.names)) + (", …" if others.count > len(others.names) else "")
        raise Failure(
            f"{others.count:,} of the {len(pictures):,} pictures have the id of a point in {collection.name} "
            f"from another folder ({names}); nothing was written. Give the ids of this folder a prefix with "
            "--prefix NAME/, or overwrite those points with --replace"
        )
