"""Every RPC: what kind of thing it does, which things its request names, and what it costs.

A test holds this table equal to the protos: an RPC that is not in it cannot be served.
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
        group: `read` changes nothing, `write` changes points, `admin` makes, changes or deletes what others
            rely on: whole collections, aliases, label sets, migrations.
        collection: field that names a collection, by an alias too.
        names: fields that name collections or aliases, and mean just these.
        model: field that names a model; empty means the server's default.
        label_set: field that names a label set; where it is empty, the request names none.
        items: repeated field whose length is the cost of a call; without one a call costs 1.
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
    "StartMigration": Rpc("admin", collection="collection", model="to_model"),
    "SwitchMigration": Rpc("admin", collection="collection"),
    "RollBackMigration": Rpc("admin", collection="collection"),
    "EndMigration": Rpc("admin", collection="collection"),
    "PutLabelSet": Rpc("admin", label_set="name"),
    "GetLabelSet": Rpc("read", label_set="ref.name"),
    "ListLabelSets": Rpc("read"),
    "DeleteLabelSet": Rpc("admin", label_set="ref.name"),
}
"""By name; no two services have an RPC of one name. Lists show only what the caller may use, and each message
of a stream is a request of the stream's unary twin, and is judged as that."""


def methods_of(group: Group) -> frozenset[str]:
    """The RPCs of a group."""
    return frozenset(name for name, rpc in RPCS.items() if rpc.group == group)
