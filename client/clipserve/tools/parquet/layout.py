"""What a file of points looks like: its columns, and what it says about itself.

    id                string
    embedding         fixed-size list of float32 [D], L2-normalized
    payload_<field>   one column for each field of the collection; null where a point does not have it
    source_uri        string, null where it is not known
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
    """A file that cannot be used, in one sentence."""


@dataclass(frozen=True)
class FileFacts:
    """What a file says about itself."""

    collection: str
    """Where the points came from."""
    model: str
    fingerprint: str
    """Of the model that made the embeddings."""
    dim: int
    metric: str
    schema: Mapping[str, str]
    """Type of each payload field."""
    keep_sources: bool
    """Whether the collection kept its sources."""
    create_time: str
    """When the collection was made, ISO 8601."""
    sources: bool = False
    """Whether the file has the points' sources."""
    index_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the collection's index, as clipserve.IndexOptions names them."""
    format: int = FORMAT


def arrow_schema(facts: FileFacts) -> Any:
    """The file's columns, with the facts beside them; FileError for types this version does not know."""
    for name, kind in facts.schema.items():
        if kind not in ARROW_TYPES:
            raise FileError(f"field {name!r} is of a type that this version does not know; update clipserve")
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
    """What the file says; None if it was not written by `clipserve export`."""
    written = (schema.metadata or {}).get(KEY)
    if written is None:
        return None
    try:
        document = json.loads(written)
        if document["format"] > FORMAT:
            raise FileError("the file was written by a later version of clipserve; update this one")
        names = FileFacts.__dataclass_fields__
        return FileFacts(**{name: value for name, value in document.items() if name in names})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileError(f"what the file says about itself cannot be read: {error!r}") from error
