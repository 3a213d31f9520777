"""Creates and drops the tables of collections, in a way that tells an interrupted step from a lost catalog.

A record is written before a table is created and removed after the table is dropped. So each table has a
record for its whole life. If a table has no record, no interrupted step left it: the catalog was lost, or
replaced by an older copy.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import time

from clipserve_gateway.collection.spec import CollectionSpec, Generation, write_spec
from clipserve_gateway.index.base import Document, Engine
from clipserve_gateway.index.store_format import mark_format

RECORDS = "tables/"
"""Key prefix of the records."""
TABLE_NAME = re.compile(r"c_\w+_([0-9a-f]{8,15})_[0-9a-f]{8}")


def new_table_name(collection: str) -> str:
    """A name that no table has had: the collection's name, the time, and a random part."""
    return f"c_{escaped(collection)}_{int(time.time()):08x}_{secrets.token_hex(4)}"


def escaped(collection: str) -> str:
    """The collection's name in letters, digits and underscores, the only characters that Milvus allows.

    Different names stay different: `_` becomes `__`, `-` becomes `_h`.
    """
    return collection.replace("_", "__").replace("-", "_h")


def is_collection_table(table: str) -> bool:
    """Whether the name is one that new_table_name makes."""
    return TABLE_NAME.fullmatch(table) is not None


async def create_table(engine: Engine, spec: CollectionSpec, generation: Generation) -> None:
    """Creates the table of a generation, with the facts that a lost catalog can be rebuilt from."""
    await mark_format(engine)
    await write_record(engine, generation.table)
    await engine.create_table(spec.table_of(generation), facts_of(spec, generation))


def facts_of(spec: CollectionSpec, generation: Generation) -> bytes:
    """The facts stored in a table: the collection's document as if this were its only table."""
    return write_spec(dataclasses.replace(spec, serving=generation, migration=None))


async def drop_table(engine: Engine, table: str) -> None:
    """Drops a table that no collection has any more; does nothing if it does not exist.

    Its record is marked first, so that the next start finishes an interrupted drop.
    """
    record = await engine.get_document(RECORDS + table)
    value = json.dumps({"time": int(time.time()), "dropping": True}).encode()
    await engine.put_document(RECORDS + table, value, version=record.version if record else 0)
    await engine.drop_table(table)
    record = await engine.get_document(RECORDS + table)
    if record is not None:
        await engine.delete_document(record.key, version=record.version)


def is_being_dropped(record: Document) -> bool:
    """Whether a record is marked for dropping its table."""
    return bool(json.loads(record.value).get("dropping"))


async def write_record(engine: Engine, table: str) -> None:
    """Writes the record of a table, unless it has one."""
    value = json.dumps({"time": int(time.time())}).encode()
    await engine.put_document(RECORDS + table, value, version=0)
