"""The collection that a file is imported into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipserve import errors
from clipserve.client import Client
from clipserve.tools.cli.errors import Failure
from clipserve.tools.cli.output import progress
from clipserve.tools.cli.terminal import say
from clipserve.tools.indexing.facts import printable
from clipserve.types import Collection, ImageRules, IndexOptions

if TYPE_CHECKING:
    from clipserve.tools.parquet.read import PointFile


@dataclass(frozen=True)
class Plan:
    """How to treat sources and image rules."""

    from_sources: bool
    """Embed the sources in the file again."""
    without_sources: bool
    """Import no sources; overwritten points lose theirs."""
    other_rules: bool = False
    """Import embeddings that were made with other rules for images than those of the collection."""


def ensure_collection(
    client: Client, name: str, file: PointFile, model: str, plan: Plan, create: bool
) -> tuple[Collection, bool]:
    """The collection, and whether it was created. Raises Failure if the file does not fit it."""
    try:
        collection = client.get_collection(name)
    except errors.CollectionNotFound:
        if not create:
            raise
        return create_collection(client, name, file, model, plan), True
    if model and collection.model.name != model:
        raise Failure(
            f"{name} has model {collection.model.name}; leave out --model, or choose another collection"
        )
    if not plan.from_sources:
        check_dim(name, collection.model.embed_dim, file)
        check_rules(collection, file, plan)
    if not plan.without_sources:
        check_sources(client, collection, file, plan)
    return collection, False


def check_rules(collection: Collection, file: PointFile, plan: Plan) -> None:
    """Raises Failure if the embeddings of the file follow other rules for images than the collection.

    Only says so if the plan accepts it.
    """
    rules = collection.image_rules if file.facts is None else ImageRules(**file.facts.image_rules)
    if rules == collection.image_rules:
        return
    difference = (
        f"the embeddings of the file were made with {rules}, and {collection.name} has "
        f"{collection.image_rules}: turned or transparent pictures would be found less well"
    )
    if not plan.other_rules:
        raise Failure(
            f"{difference}. Choose a new collection, which takes the rules of the file; embed the sources "
            "again with --from-sources; or accept this with --accept-other-image-rules"
        )
    say(f"Warning: {difference}", err=True)


def check_sources(client: Client, collection: Collection, file: PointFile, plan: Plan) -> None:
    """Raises Failure if sources of the file, or of overwritten points, would be lost."""
    has_sources = file.columns.source is not None
    if has_sources and not collection.keep_sources:
        raise Failure(
            f"the file has sources, but {collection.name} does not keep sources; choose another collection, "
            "or import without sources by --without-sources"
        )
    if collection.keep_sources and not has_sources:
        raise Failure(
            f"{collection.name} keeps sources, but the file has none: new points would have no source, and "
            "overwritten points would lose theirs. Export with --sources, or accept this with "
            "--without-sources"
        )
    check_restores(client, collection.keep_sources, plan)


def check_restores(client: Client, keep_sources: bool, plan: Plan) -> None:
    """Raises Failure if the server cannot store a source together with a given embedding."""
    if keep_sources and not plan.from_sources and not client.info().restores_sources:
        raise Failure(
            "this server is too old to restore points with their sources; update it, embed the sources again "
            "with --from-sources, or import without sources by --without-sources"
        )


def create_collection(client: Client, name: str, file: PointFile, model: str, plan: Plan) -> Collection:
    """A new collection like the exported one, or with the schema of the columns of another file."""
    info = client.info()
    facts = file.facts
    keep_sources = facts is not None and facts.keep_sources and not plan.without_sources
    if keep_sources and not info.keeps_sources:
        raise Failure(
            "the exported collection keeps sources, but this server cannot store sources (engine "
            f"{info.engine}); import without sources by --without-sources"
        )
    if keep_sources and file.columns.source is None:
        raise Failure(
            "the exported collection keeps sources, but the file has none; export with --sources, or create "
            f"{name} without sources by --without-sources"
        )
    check_restores(client, keep_sources, plan)
    if plan.from_sources:
        model = model or (facts.model if facts else "")
    elif facts is not None:
        of_file = [served.name for served in info.models if served.ref.fingerprint == facts.fingerprint]
        if not of_file or model not in ("", *of_file):
            raise Failure(
                f"its embeddings are of model {facts.model} (fingerprint {facts.fingerprint[:12]}…), "
                f"which {f'is not {model}' if of_file else 'this server does not serve'}; `clipserve info` "
                "lists the models, and --from-sources embeds the sources again, if the file has them"
            )
        # The server may serve the same model under another name.
        model = model or (facts.model if facts.model in of_file else of_file[0])
    else:
        wanted = model or info.default_model
        check_dim(
            f"model {wanted}",
            {served.name: served.ref.embed_dim for served in info.models}.get(wanted),
            file,
        )
    schema = facts.schema if facts is not None else file.columns.schema
    options = IndexOptions(**facts.index_options) if facts is not None else IndexOptions()
    rules = ImageRules(**facts.image_rules) if facts is not None and not plan.from_sources else None
    return client.create_collection(
        name, schema=schema, model=model, keep_sources=keep_sources, index=options, image_rules=rules
    )


def check_dim(name: str, dim: int | None, file: PointFile) -> None:
    """Raises Failure if the file has no embeddings or if they do not have `dim` numbers; None is unknown."""
    if file.rows and not file.dim:
        raise Failure(f"no row of the file has an embedding in column {file.columns.embedding!r}")
    if dim is not None and file.rows and file.dim != dim:
        raise Failure(
            f"the embeddings of the file have {file.dim} numbers, but those of {name} have {dim}; "
            "name the model of the file with --model"
        )


def fitting_fields(collection: Collection, file: PointFile) -> dict[str, str]:
    """The file's fields that the collection has, with its types. Raises Failure for other types."""
    fields: dict[str, str] = {}
    for name, kind in file.columns.schema.items():
        wanted = collection.schema.get(name)
        if wanted is None:
            continue
        if (kind, wanted) not in ((kind, kind), ("int", "double")):
            raise Failure(
                f"field {name!r} is of type {wanted} in {collection.name}, but of type {kind} in the file; "
                "choose another collection, or rename the column"
            )
        fields[name] = wanted
    return fields


def refuse_changes(
    client: Client,
    collection: Collection,
    file: PointFile,
    schema: Mapping[str, str],
    plan: Plan,
    *,
    show: bool,
) -> None:
    """Raises Failure if the collection has points with ids of the file and other content."""
    from clipserve.tools.parquet.existing import compare

    with progress("Comparing", file.rows, show=show) as advance:
        existing = compare(
            client, collection.name, file, schema, with_embeddings=not plan.from_sources, progress=advance
        )
    if existing.others:
        names = ", ".join(map(printable, existing.names)) + (
            ", …" if existing.others > len(existing.names) else ""
        )
        raise Failure(
            f"{collection.name} has {existing.others:,} points with ids of the file and other content "
            f"({names}); nothing was written. Overwrite them with --replace, or keep them with "
            "--skip-existing"
        )
