"""Migrations of the fake server. Each GetCollection call embeds a few points."""

from __future__ import annotations

from dataclasses import dataclass, field

from client.fake_base import Refused
from clipserve.v1 import collection_pb2, common_pb2
from google.protobuf.timestamp_pb2 import Timestamp


def conflict(message: str, field: str = "collection") -> Refused:
    """MIGRATION_CONFLICT."""
    return Refused("FAILED_PRECONDITION", "MIGRATION_CONFLICT", message, field)


@dataclass
class FakeMigration:
    """A migration.

    Attributes:
        source: the model before the switch.
        target: the model after the switch.
        pending: ids of points that are not embedded yet.
        failures: errors of points that cannot be embedded, by id.
        waiting: why the migration waits; set by tests. Empty: it continues.
    """

    source: common_pb2.ModelRef
    target: common_pb2.ModelRef
    pending: list[str]
    total: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    waiting: str = ""
    switched: bool = False

    def __post_init__(self) -> None:
        self.total = len(self.pending)

    @property
    def ready(self) -> bool:
        """Whether the migration can be switched."""
        return not self.pending and not self.switched and not self.nothing_embedded

    @property
    def nothing_embedded(self) -> bool:
        """Whether every point failed."""
        return not self.pending and 0 < self.total <= len(self.failures)

    def message(self) -> collection_pb2.Migration:
        """The message of the migration."""
        state = collection_pb2.MIGRATION_STATE_RUNNING
        if self.switched:
            state = collection_pb2.MIGRATION_STATE_SWITCHED
        elif self.ready:
            state = collection_pb2.MIGRATION_STATE_READY
        elif self.waiting or self.nothing_embedded:
            state = collection_pb2.MIGRATION_STATE_WAITING
        message = collection_pb2.Migration(
            state=state,
            to=self.target,
            total=self.total,
            done=self.total - len(self.pending),
            failed=len(self.failures),
            failures=[
                collection_pb2.FailedPoint(id=id, message=text)
                for id, text in list(self.failures.items())[:16]
            ],
            error=self.waiting or ("none of the points could be embedded" if self.nothing_embedded else ""),
            start_time=Timestamp(seconds=1_700_000_000),
        )
        getattr(message, "from").CopyFrom(self.source)
        if not self.pending:
            message.overlap.CopyFrom(collection_pb2.NeighborOverlap(k=10, queries=4, mean=0.75, p10=0.5))
        return message
