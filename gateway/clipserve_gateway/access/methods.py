"""Table of all RPCs: the group of each, the fields that name things, and the field that decides the cost.

A test compares this table with the protos. A gateway with tokens cannot serve an RPC that is missing here;
without tokens the table is not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["read", "write", "admin"]
GROUPS: tuple[Group, ...] = ("read", "write", "admin")


@dataclass(frozen=True)
class Rpc:
    """One RPC.

    Attributes:
        group: `read` changes nothing, `write` changes points, `admin` creates, changes or deletes whole
            collections, aliases, label sets and migrations.
        collection: field that names a collection or an alias of it.
        names: fields that name a collection or an alias itself; aliases are not resolved.
        model: field that names a model; an empty value means the server's default.
        label_set: field that names a label set; it may be empty.
        items: repeated field whose length is the cost of a call; a call without one costs 1.
    """

    group: Group
    collection: str = ""
    names: tuple[str, ...] = ()
    model: str = ""
    label_set: str = ""
    items: str = ""


RPCS: dict[str, Rpc] = {
    "Classify": Rpc("read", model="model", label_set="label_set.name", items="images"),
    "PrepareLabels": Rpc("read", model="model", label_set="label_set.name"),
    "Embed": Rpc("read", model="model", items="inputs"),
    "EmbedStream": Rpc("read"),
    "Search": Rpc("read", collection="collection"),
    "GetServerInfo": Rpc("read"),
    "CreateCollection": Rpc("admin", names=("name",), model="model"),
    "GetCollection": Rpc("read", collection="name"),
    "ListCollections": Rpc("read"),
    "DeleteCollection": Rpc("admin", names=("name",)),
    "PurgeCollection": Rpc("admin", collection="name"),
    "PutAlias": Rpc("admin", names=("alias.name", "alias.collection")),
    "DeleteAlias": Rpc("admin", names=("name",)),
    "ListAliases": Rpc("read"),
    "UpsertPoints": Rpc("write", collection="collection", items="points"),
    "UpsertPointsStream": Rpc("write"),
    "DeletePoints": Rpc("write", collection="collection", items="ids"),
    "GetPoints": Rpc("read", collection="collection", items="ids"),
    "ScrollPoints": Rpc("read", collection="collection"),
    "CountPoints": Rpc("read", collection="collection"),
    "GetThumbnail": Rpc("read", collection="collection"),
    "StartMigration": Rpc("admin", collection="collection", model="to_model"),
    "SwitchMigration": Rpc("admin", collection="collection"),
    "RollBackMigration": Rpc("admin", collection="collection"),
    "EndMigration": Rpc("admin", collection="collection"),
    "PutLabelSet": Rpc("admin", label_set="name"),
    "GetLabelSet": Rpc("read", label_set="ref.name"),
    "ListLabelSets": Rpc("read"),
    "DeleteLabelSet": Rpc("admin", label_set="ref.name"),
}
"""By name: no two services have an RPC of the same name. Lists return only what the caller may see. Each
message of a stream is a request of the stream's unary twin, and is authorized as that RPC."""


def methods_of(group: Group) -> frozenset[str]:
    """Names of the RPCs of a group."""
    return frozenset(name for name, rpc in RPCS.items() if rpc.group == group)
