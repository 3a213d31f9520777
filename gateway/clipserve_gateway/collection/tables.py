"""How the tables of collections are made and dropped, so that an interrupted step can be told from a loss.

A record is written before a table is made and removed after the table is dropped. So each table that this
service made has a record for its whole life. A table without a record was not forgotten by an interrupted
step: the catalog itself was lost, or replaced by an older copy.
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
"""Prefix of the keys of records."""
TABLE_NAME = re.compile(r"c_\w+_([0-9a-f]{8,15})_[0-9a-f]{8}")


def new_table_name(collection: str) -> str:
    """A name that no table has had: the collection's for people to see, the time, and chance."""
    return f"c_{escaped(collection)}_{int(time.time()):08x}_{secrets.token_hex(4)}"


def escaped(collection: str) -> str:
    """The collection's name in letters, digits and underscores, which is all that Milvus allows.

    Two names never become one: `_` is written as `__`, `-` as `_h`.
    """
    return collection.replace("_", "__").replace("-", "_h")


def is_ours(table: str) -> bool:
    """Whether a table has the name of a collection's table."""
    return TABLE_NAME.fullmatch(table) is not None


async def create_table(engine: Engine, spec: CollectionSpec, generation: Generation) -> None:
    """Makes the table of a generation. It keeps what the catalog would need to list it again."""
    await mark_format(engine)
    await write_record(engine, generation.table)
    await engine.create_table(spec.table_of(generation), facts_of(spec, generation))


def facts_of(spec: CollectionSpec, generation: Generation) -> bytes:
    """What a table keeps beside its points: the collection's document as if this were its only table."""
    return write_spec(dataclasses.replace(spec, serving=generation, migration=None))


async def drop_table(engine: Engine, table: str) -> None:
    """Removes a table that no collection has any more, with all its points; also one that is gone already.

    Its record says so before, so that the next start finishes a drop that is interrupted.
    """
    record = await engine.get_document(RECORDS + table)
    value = json.dumps({"time": int(time.time()), "dropping": True}).encode()
    await engine.put_document(RECORDS + table, value, version=record.version if record else 0)
    await engine.drop_table(table)
    record = await engine.get_document(RECORDS + table)
    if record is not None:
        await engine.delete_document(record.key, version=record.version)


def is_being_dropped(record: Document) -> bool:
    """Whether a record says that its table is to go."""
    return bool(json.loads(record.value).get("dropping"))


async def write_record(engine: Engine, table: str) -> None:
    """Records a table, unless it has a record."""
    value = json.dumps({"time": int(time.time())}).encode()
    await engine.put_document(RECORDS + table, value, version=0)
