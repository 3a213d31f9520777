"""The collection that a file is imported into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from clipserve import errors
from clipserve.cli.errors import Failure
from clipserve.client import Client
from clipserve.types import Collection

if TYPE_CHECKING:
    from clipserve.parquet.read import PointFile


def ensure_collection(
    client: Client, name: str, file: PointFile, model: str, from_sources: bool, create: bool
) -> tuple[Collection, bool]:
    """The collection, and whether it was made; Failure where it cannot hold the file's embeddings."""
    try:
        found = client.get_collection(name)
    except errors.CollectionNotFound:
        if not create:
            raise
        found = make_collection(client, name, file, model, from_sources)
        return found, True
    if model and found.model.name != model:
        raise Failure(
            f"{name} was made with model {found.model.name}; leave out --model, or choose another collection"
        )
    if not from_sources:
        check_dim(name, found.model.embed_dim, file)
    return found, False


def make_collection(client: Client, name: str, file: PointFile, model: str, from_sources: bool) -> Collection:
    """A collection like the one that the file came from, or for what a foreign file holds."""
    info = client.info()
    facts = file.facts
    keep_sources = facts is not None and facts.keep_sources
    if keep_sources and not info.keeps_sources:
        click.echo(f"this server does not keep sources, so {name} will not either", err=True)
        keep_sources = False
    if from_sources:
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
    return client.create_collection(name, schema=schema, model=model, keep_sources=keep_sources)


def check_dim(name: str, dim: int | None, file: PointFile) -> None:
    """Failure if the file's embeddings have another dimension; None is not known."""
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
