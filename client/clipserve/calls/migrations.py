"""Moving collections to other models."""

from __future__ import annotations

from google.protobuf.message import Message

from clipserve.calls.base import Calls
from clipserve.messages.collection_responses import read_collection
from clipserve.types import Collection
from clipserve.v1 import collection_pb2


class MigrationCalls(Calls):
    """Methods of CollectionService that move a collection to another model.

    Each returns the collection with its migration as it is then; `get_collection` tells how it goes on.
    Each raises MigrationConflict where the migration is not in a state that allows it.
    """

    def start_migration(self, collection: str, to_model: str, *, timeout: float | None = None) -> Collection:
        """Begins to embed the points anew with another model, in the background.

        Reads go on, and writes go to both models. Raises SourcesNotKept where there is nothing to embed.
        """
        request = collection_pb2.StartMigrationRequest(collection=collection, to_model=to_model)
        return self._migrate("StartMigration", request, timeout)

    def switch_migration(
        self,
        collection: str,
        *,
        without_failed: bool = False,
        accept_dropped: int = 0,
        timeout: float | None = None,
    ) -> Collection:
        """Lets the new model answer from this moment on, once the migration is ready.

        The old embeddings are kept, and written too, until the migration is ended.

        Args:
            without_failed: switches although some points failed; they will be missing. Alone it is enough
                for at most 16 points, and never for all.
            accept_dropped: the exact number of points that may go missing, any number.
        """
        request = collection_pb2.SwitchMigrationRequest(
            collection=collection, without_failed=without_failed, accept_dropped=accept_dropped
        )
        return self._migrate("SwitchMigration", request, timeout)

    def roll_back_migration(
        self, collection: str, *, accept_dropped: int = 0, timeout: float | None = None
    ) -> Collection:
        """Lets the old model answer again, from this moment on.

        Args:
            accept_dropped: the exact number of points written since the switch that the old model has no
                embedding of, and that may go missing.
        """
        request = collection_pb2.RollBackMigrationRequest(
            collection=collection, accept_dropped=accept_dropped
        )
        return self._migrate("RollBackMigration", request, timeout)

    def end_migration(self, collection: str, *, timeout: float | None = None) -> Collection:
        """Stays with the model that answers now, and drops the embeddings of the other one.

        Before a switch this gives the migration up.
        """
        request = collection_pb2.EndMigrationRequest(collection=collection)
        return self._migrate("EndMigration", request, timeout)

    def _migrate(self, name: str, request: Message, timeout: float | None) -> Collection:
        # Done twice, each of them would be refused the second time.
        return read_collection(self._call(name, request, timeout, idempotent=False).collection)
