"""The collection that a file is imported into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipserve import errors
from clipserve.client import Client
from clipserve.tools.cli.common import shown
from clipserve.tools.cli.errors import Failure
from clipserve.tools.cli.output import progress
from clipserve.types import Collection, IndexOptions

if TYPE_CHECKING:
    from clipserve.tools.parquet.read import PointFile


@dataclass(frozen=True)
class Plan:
    """What is to be done with sources."""

    from_sources: bool
    """Embed anew, from the sources in the file."""
    without_sources: bool
    """Leave out sources, and let overwritten points lose theirs."""


def ensure_collection(
    client: Client, name: str, file: PointFile, model: str, plan: Plan, create: bool
) -> tuple[Collection, bool]:
    """The collection, and whether it was made; Failure where it cannot hold the file's embeddings."""
    try:
        found = client.get_collection(name)
    except errors.CollectionNotFound:
        if not create:
            raise
        found = make_collection(client, name, file, model, plan)
        return found, True
    if model and found.model.name != model:
        raise Failure(
            f"{name} was made with model {found.model.name}; leave out --model, or choose another collection"
        )
    if not plan.from_sources:
        check_dim(name, found.model.embed_dim, file)
    if not plan.without_sources:
        check_sources(client, found, file, plan)
    return found, False


def check_sources(client: Client, found: Collection, file: PointFile, plan: Plan) -> None:
    """Failure where an import would lose sources of the file, or of points that are overwritten."""
    has_sources = file.columns.source is not None
    if has_sources and not found.keep_sources:
        raise Failure(
            f"the file has the sources of its points, and {found.name} does not keep sources: choose another "
            "collection, or leave them out with --without-sources"
        )
    if found.keep_sources and not has_sources:
        raise Failure(
            f"{found.name} keeps its sources, and the file has none: its points would be without them, and "
            "points that are overwritten would lose them. Export with --sources, or accept this with "
            "--without-sources"
        )
    check_restores(client, found.keep_sources, plan)


def check_restores(client: Client, keep_sources: bool, plan: Plan) -> None:
    """Failure for a server that cannot keep a source beside a given embedding."""
    if keep_sources and not plan.from_sources and not client.info().restores_sources:
        raise Failure(
            "this server is too old to restore points with their sources; update it, embed anew with "
            "--from-sources, or leave the sources out with --without-sources"
        )


def make_collection(client: Client, name: str, file: PointFile, model: str, plan: Plan) -> Collection:
    """A collection like the one that the file came from, or for what a foreign file holds."""
    info = client.info()
    facts = file.facts
    keep_sources = facts is not None and facts.keep_sources and not plan.without_sources
    if keep_sources and not info.keeps_sources:
        raise Failure(
            f"the points of the file belong to a collection that keeps its sources, and this server "
            f"({info.engine}) keeps none; leave them out with --without-sources"
        )
    if keep_sources and file.columns.source is None:
        raise Failure(
            "the points of the file belong to a collection that keeps its sources, and the file has none: "
            f"export with --sources, or make {name} without sources by --without-sources"
        )
    check_restores(client, keep_sources, plan)
    if plan.from_sources:
        model = model or (facts.model if facts else "")
    elif facts is not None:
        of_file = [it.name for it in info.models if it.ref.fingerprint == facts.fingerprint]
        if not of_file or model not in ("", *of_file):
            raise Failure(
                f"its embeddings were made by model {facts.model} (fingerprint {facts.fingerprint[:12]}…), "
                f"which {f'is not {model}' if of_file else 'this server does not have'}; `clipserve info` "
                "lists the models, and --from-sources embeds anew where the file has sources"
            )
        # The same model may have another name here.
        model = model or (facts.model if facts.model in of_file else of_file[0])
    else:
        wanted = model or info.default_model
        check_dim(f"model {wanted}", {it.name: it.ref.embed_dim for it in info.models}.get(wanted), file)
    schema = facts.schema if facts is not None else file.columns.schema
    options = IndexOptions(**facts.index_options) if facts is not None else IndexOptions()
    return client.create_collection(
        name, schema=schema, model=model, keep_sources=keep_sources, index=options
    )


def check_dim(name: str, dim: int | None, file: PointFile) -> None:
    """Failure if the file has no embeddings, or some of another dimension; None is not known."""
    if file.rows and not file.dim:
        raise Failure(f"no row of the file has an embedding in column {file.columns.embedding!r}")
    if dim is not None and file.rows and file.dim != dim:
        raise Failure(
            f"the embeddings of the file have {file.dim} numbers, those of {name} {dim}; "
            "name the model that made them with --model"
        )


def fitting_fields(found: Collection, file: PointFile) -> dict[str, str]:
    """The fields that the collection has, by its own types; Failure where they are of another type."""
    fields: dict[str, str] = {}
    for name, kind in file.columns.schema.items():
        wanted = found.schema.get(name)
        if wanted is None:
            continue
        if (kind, wanted) not in ((kind, kind), ("int", "double")):
            raise Failure(
                f"field {name!r} is of type {wanted} in {found.name}, and of type {kind} in the file; "
                "choose another collection, or rename the column"
            )
        fields[name] = wanted
    return fields


def refuse_changes(
    client: Client, found: Collection, file: PointFile, schema: Mapping[str, str], plan: Plan, *, show: bool
) -> None:
    """Failure where points of the file's ids are there with another content."""
    from clipserve.tools.parquet.existing import compare

    with progress("Comparing", file.rows, show=show) as advance:
        there = compare(
            client, found.name, file, schema, with_embeddings=not plan.from_sources, progress=advance
        )
    if there.others:
        names = ", ".join(map(shown, there.names)) + (", …" if there.others > len(there.names) else "")
        raise Failure(
            f"{there.others:,} points of these ids are in {found.name} already, with another content "
            f"({names}): --replace overwrites them, --skip-existing leaves them alone; nothing was written"
        )
