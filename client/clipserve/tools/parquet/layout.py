"""The columns and the metadata of a file of points.

    id                string
    embedding         fixed-size list of float32 [D], L2-normalized
    payload_<field>   one column for each field of the collection; null if the point lacks the field
    source_uri        string, null if unknown
    source            binary: the encoded picture, or the text in UTF-8; only in files with sources
    source_kind       `image` or `text`; only in files with sources

The file's metadata has one JSON document under the key `clipserve`: see FileFacts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

FORMAT = 1
KEY = b"clipserve"

ID = "id"
EMBEDDING = "embedding"
PAYLOAD = "payload_"
SOURCE_URI = "source_uri"
SOURCE = "source"
SOURCE_KIND = "source_kind"

ARROW_TYPES: dict[str, Any] = {
    "string": pa.string(),
    "int": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "string_list": pa.list_(pa.string()),
}
"""Column type of each payload type."""


class FileError(Exception):
    """Why a file cannot be used, as one sentence."""


@dataclass(frozen=True)
class FileFacts:
    """The metadata of a file."""

    collection: str
    """Name of the exported collection."""
    model: str
    fingerprint: str
    """Of the embeddings' model."""
    dim: int
    metric: str
    schema: Mapping[str, str]
    """Type of each payload field."""
    keep_sources: bool
    """Whether the collection kept its sources."""
    create_time: str
    """When the collection was created, ISO 8601."""
    sources: bool = False
    """Whether the file has the points' sources."""
    index_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the collection's index, with the names of clipserve.IndexOptions."""
    image_rules: Mapping[str, Any] = field(default_factory=dict)
    """The rules for the collection's images, with the names of clipserve.ImageRules."""
    format: int = FORMAT


def arrow_schema(facts: FileFacts) -> Any:
    """The Arrow schema with the facts as metadata. Raises FileError for unknown types."""
    for name, kind in facts.schema.items():
        if kind not in ARROW_TYPES:
            raise FileError(f"field {name!r} has a type that this version does not support; update clipserve")
    columns = [
        pa.field(ID, pa.string(), nullable=False),
        pa.field(EMBEDDING, pa.list_(pa.field("element", pa.float32(), nullable=False), facts.dim)),
        *(pa.field(PAYLOAD + name, ARROW_TYPES[kind]) for name, kind in facts.schema.items()),
        pa.field(SOURCE_URI, pa.string()),
    ]
    if facts.sources:
        columns += [pa.field(SOURCE, pa.binary()), pa.field(SOURCE_KIND, pa.string())]
    document = asdict(replace(facts, schema=dict(facts.schema)))
    return pa.schema(columns, metadata={KEY: json.dumps(document, ensure_ascii=False).encode()})


def read_facts(schema: Any) -> FileFacts | None:
    """The metadata; None if `clipserve export` did not write the file. Raises FileError."""
    written = (schema.metadata or {}).get(KEY)
    if written is None:
        return None
    try:
        document = json.loads(written)
        if document["format"] > FORMAT:
            raise FileError("a later version of clipserve wrote the file; update clipserve")
        names = FileFacts.__dataclass_fields__
        return FileFacts(**{name: value for name, value in document.items() if name in names})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileError(f"its metadata cannot be read: {error!r}") from error
