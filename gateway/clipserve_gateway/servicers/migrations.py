"""CollectionService: migrations of collections to other models."""

from __future__ import annotations

from clipserve.v1 import collection_pb2

from clipserve_gateway.access.call import Call
from clipserve_gateway.access.caller import visible
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.collection.management import CollectionOps
from clipserve_gateway.collection.migration import Migrator
from clipserve_gateway.convert.collections import write_collection


class MigrationServicer:
    """The methods of CollectionService for migrations. Each returns the collection after its step."""

    def __init__(self, migrator: Migrator, collections: CollectionOps, calls: Calls) -> None:
        self._migrator = migrator
        self._collections = collections
        self._calls = calls

    async def StartMigration(
        self, request: collection_pb2.StartMigrationRequest, call: Call
    ) -> collection_pb2.StartMigrationResponse:
        """Starts to migrate a collection to another model."""
        with self._calls.audit.change("StartMigration", call.peer, collection=request.collection) as entry:
            spec = await self._migrator.start(request.collection, request.to_model)
            entry["model"] = spec.serving.fingerprint
        return collection_pb2.StartMigrationResponse(collection=await self._collection(spec.name))

    async def SwitchMigration(
        self, request: collection_pb2.SwitchMigrationRequest, call: Call
    ) -> collection_pb2.SwitchMigrationResponse:
        """Switches the collection to the new model."""
        with self._calls.audit.change("SwitchMigration", call.peer, collection=request.collection) as entry:
            spec = await self._migrator.switch(
                request.collection,
                without_failed=request.without_failed,
                accept_dropped=request.accept_dropped,
            )
            entry["model"] = spec.serving.fingerprint
        return collection_pb2.SwitchMigrationResponse(collection=await self._collection(spec.name))

    async def RollBackMigration(
        self, request: collection_pb2.RollBackMigrationRequest, call: Call
    ) -> collection_pb2.RollBackMigrationResponse:
        """Switches the collection back to the old model."""
        with self._calls.audit.change("RollBackMigration", call.peer, collection=request.collection) as entry:
            spec = await self._migrator.roll_back(request.collection, accept_dropped=request.accept_dropped)
            entry["model"] = spec.serving.fingerprint
        return collection_pb2.RollBackMigrationResponse(collection=await self._collection(spec.name))

    async def EndMigration(
        self, request: collection_pb2.EndMigrationRequest, call: Call
    ) -> collection_pb2.EndMigrationResponse:
        """Ends the migration; the collection keeps the model that answers now."""
        with self._calls.audit.change("EndMigration", call.peer, collection=request.collection) as entry:
            spec = await self._migrator.end(request.collection)
            entry["model"] = spec.serving.fingerprint
        return collection_pb2.EndMigrationResponse(collection=await self._collection(spec.name))

    async def _collection(self, name: str) -> collection_pb2.Collection:
        return write_collection(await self._collections.get(name, shown=visible))
