"""CollectionService: migrations of collections to other models."""

from __future__ import annotations

from collections.abc import Awaitable

from clipserve.v1 import collection_pb2 as pb

from clipserve_gateway.access.call import Call
from clipserve_gateway.access.caller import visible
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.collection.management import CollectionOps
from clipserve_gateway.collection.migration import Migrator
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.convert.collections import write_collection


class MigrationServicer:
    """The methods of CollectionService for migrations. Each returns the collection after its step."""

    def __init__(self, migrator: Migrator, collections: CollectionOps, calls: Calls) -> None:
        self._migrator = migrator
        self._collections = collections
        self._calls = calls

    async def StartMigration(
        self, request: pb.StartMigrationRequest, call: Call
    ) -> pb.StartMigrationResponse:
        """Starts to migrate a collection to another model."""
        step = self._migrator.start(request.collection, request.to_model)
        collection = await self._audited("StartMigration", request.collection, call, step)
        return pb.StartMigrationResponse(collection=collection)

    async def SwitchMigration(
        self, request: pb.SwitchMigrationRequest, call: Call
    ) -> pb.SwitchMigrationResponse:
        """Switches the collection to the new model."""
        step = self._migrator.switch(
            request.collection,
            without_failed=request.without_failed,
            accept_dropped=request.accept_dropped,
        )
        collection = await self._audited("SwitchMigration", request.collection, call, step)
        return pb.SwitchMigrationResponse(collection=collection)

    async def RollBackMigration(
        self, request: pb.RollBackMigrationRequest, call: Call
    ) -> pb.RollBackMigrationResponse:
        """Switches the collection back to the old model."""
        step = self._migrator.roll_back(request.collection, accept_dropped=request.accept_dropped)
        collection = await self._audited("RollBackMigration", request.collection, call, step)
        return pb.RollBackMigrationResponse(collection=collection)

    async def EndMigration(self, request: pb.EndMigrationRequest, call: Call) -> pb.EndMigrationResponse:
        """Ends the migration; the collection keeps the model that answers now."""
        step = self._migrator.end(request.collection)
        collection = await self._audited("EndMigration", request.collection, call, step)
        return pb.EndMigrationResponse(collection=collection)

    async def _audited(
        self, action: str, name: str, call: Call, step: Awaitable[CollectionSpec]
    ) -> pb.Collection:
        """The collection after a step of its migration, which the audit log records."""
        with self._calls.audit.change(action, call.peer, collection=name) as entry:
            spec = await step
            entry["model"] = spec.serving.fingerprint
        return write_collection(await self._collections.get(spec.name, shown=visible()))
