"""Migrations of collections to other models."""

from __future__ import annotations

from google.protobuf.message import Message

from clipserve.calls.base import Calls
from clipserve.messages.collection_responses import read_collection
from clipserve.types import Collection
from clipserve.v1 import collection_pb2 as pb


class MigrationCalls(Calls):
    """Methods of CollectionService that move a collection to another model.

    Each method returns the collection with the state of its migration after the call; `get_collection`
    returns later states. Each raises MigrationConflict if the state of the migration does not allow the call.
    """

    def start_migration(self, collection: str, to_model: str, *, timeout: float | None = None) -> Collection:
        """Starts to embed all points again with another model, in the background.

        Reads still use the old model, and writes go to both models. Raises SourcesNotKept if the points'
        images and texts are neither stored nor readable.
        """
        request = pb.StartMigrationRequest(collection=collection, to_model=to_model)
        return self._migrate("StartMigration", request, timeout)

    def switch_migration(
        self,
        collection: str,
        *,
        without_failed: bool = False,
        accept_dropped: int = 0,
        timeout: float | None = None,
    ) -> Collection:
        """Makes the new model answer from now on. The migration must be ready.

        Until the migration is ended, writes still go to both models, and it can be rolled back.

        Args:
            without_failed: switches even if points failed; the collection then lacks these points. Sufficient
                alone for at most 16 points, and never if all points failed.
            accept_dropped: the exact number of points that may be lost; needed for more than 16.
        """
        request = pb.SwitchMigrationRequest(
            collection=collection, without_failed=without_failed, accept_dropped=accept_dropped
        )
        return self._migrate("SwitchMigration", request, timeout)

    def roll_back_migration(
        self, collection: str, *, accept_dropped: int = 0, timeout: float | None = None
    ) -> Collection:
        """Makes the old model answer again from now on.

        Args:
            accept_dropped: the exact number of points that may be lost: points written since the switch that
                have no embedding of the old model.
        """
        request = pb.RollBackMigrationRequest(collection=collection, accept_dropped=accept_dropped)
        return self._migrate("RollBackMigration", request, timeout)

    def end_migration(self, collection: str, *, timeout: float | None = None) -> Collection:
        """Keeps the model that answers now, and deletes the embeddings of the other one.

        Before a switch, this cancels the migration.
        """
        request = pb.EndMigrationRequest(collection=collection)
        return self._migrate("EndMigration", request, timeout)

    def _migrate(self, name: str, request: Message, timeout: float | None) -> Collection:
        # Not idempotent: the server refuses the second of two equal calls.
        return read_collection(self._call(name, request, timeout, idempotent=False).collection)
