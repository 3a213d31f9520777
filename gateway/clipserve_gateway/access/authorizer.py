"""Decides which calls are let in, and what each request of a call may name and cost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from operator import attrgetter
from typing import Any, TypeVar

from clipserve_gateway.access.call import Call
from clipserve_gateway.access.caller import current
from clipserve_gateway.access.cost import afterwards, cost
from clipserve_gateway.access.grants import Grant
from clipserve_gateway.access.methods import RPCS, Rpc
from clipserve_gateway.access.token_gate import TokenGate
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.errors import CollectionNotFound, PermissionDenied, RateLimited, Unauthenticated
from clipserve_gateway.flow import stages
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.triton.models import Models

Q = TypeVar("Q")
R = TypeVar("R")


class Authorizer:
    """Authorizes the calls of one gateway.

    An alias is allowed if the token allows both its name and the collection it points to. The authorizer
    replaces the alias in the request by that collection, so a later change of the alias does not affect the
    request. Likewise it replaces an empty model name by the default model. A collection is allowed if the
    token allows its name and every model whose embeddings it holds.

    A refusal reads the same whether the collection, label set or model exists or not.
    """

    def __init__(self, gate: TokenGate, catalog: Catalog, models: Models, metrics: Metrics) -> None:
        self._gate = gate
        self._catalog = catalog
        self._models = models
        self._metrics = metrics

    def authenticate(self, call: Call) -> None:
        """Sets the call's caller. Raises Unauthenticated, or PermissionDenied for a method not allowed."""
        try:
            with self._counted_refusals():
                call.caller = self._gate.authenticate(call.metadata)
                current.set(call.caller)
                self._gate.permit(call.caller, call.method)
        except (PermissionDenied, Unauthenticated):
            stages.note("peer", call.peer)
            if call.caller is not None:
                stages.note("token", call.caller.grant.name)
            raise

    async def authorize_and_run(self, call: Call, request: Q, work: Callable[[Q], Awaitable[R]]) -> R:
        """Runs `work` with the request if the caller is allowed to make it; returns its result.

        Raises PermissionDenied, RateLimited or Unauthenticated before any work is done.
        """
        if call.caller is None:
            return await work(request)
        rpc = rpc_of(request)
        with self._counted_refusals():
            grant = self._refresh(call)
            alias = await self._authorize(grant, rpc, request)
            await self._charge_or_wait(call, cost(rpc, request, stages.take_received()))
        try:
            return await work(request)
        except CollectionNotFound:
            # The alias may have moved, and its former collection dropped, since the catalog cached it.
            if not alias or not await self._alias_moved(grant, rpc, request, alias):
                raise
            return await work(request)

    @contextlib.contextmanager
    def _counted_refusals(self) -> Iterator[None]:
        try:
            yield
        except (PermissionDenied, RateLimited, Unauthenticated) as error:
            self._metrics.rejected.labels(error.reason.lower()).inc()
            raise

    def _refresh(self, call: Call) -> Grant:
        """What the token allows now: it may have been withdrawn since a stream began."""
        assert call.caller is not None, "authenticated"
        call.caller = self._gate.refresh(call.caller)
        self._gate.permit(call.caller, call.method)
        current.set(call.caller)
        stages.note("token", call.caller.grant.name)
        return call.caller.grant

    async def _authorize(self, grant: Grant, rpc: Rpc, request: Any) -> str:
        """Raises PermissionDenied unless the token allows everything that the request names.

        Replaces an alias in the request by its collection, and returns the alias; empty if there is none.
        """
        if rpc.model:
            self._authorize_model(grant, rpc.model, request)
        if rpc.label_set:
            authorize_label_set(grant, attrgetter(rpc.label_set)(request))
        if grant.sees_all:
            return ""
        for field in rpc.names:
            await self._resolve(grant, attrgetter(field)(request), fresh=True)
        if not rpc.collection:
            return ""
        name: str = getattr(request, rpc.collection)
        target = await self._resolve(grant, name)
        setattr(request, rpc.collection, target)
        return name if name != target else ""

    async def _resolve(self, grant: Grant, name: str, *, fresh: bool = False) -> str:
        """The collection that the name or alias stands for; the name itself if there is none.

        Raises PermissionDenied.
        """
        if grant.sees(name):
            try:
                collection: CollectionSpec = await self._catalog.get(name, fresh=fresh)
            except CollectionNotFound:
                return name
            if grant.sees_collection(collection):
                return collection.name
        raise PermissionDenied(
            f"token {grant.name!r} may not use collection {name[:80]!r}: its collections= and models= do not "
            "allow it",
            metadata={"collection": name[:80]},
        )

    def _authorize_model(self, grant: Grant, field: str, request: Any) -> None:
        """Raises PermissionDenied unless the token allows the model. Sets an empty name to the default."""
        name: str = getattr(request, field)
        model = name or self._models.default
        if not model:
            return
        if not grant.sees_model(model):
            what = f"model {name[:80]!r}" if name else "the default model"
            raise PermissionDenied(
                f"token {grant.name!r} may not use {what}: its models= does not allow it",
                metadata={"model": name[:80]},
            )
        setattr(request, field, model)

    async def _alias_moved(self, grant: Grant, rpc: Rpc, request: Any, alias: str) -> bool:
        """Whether the alias points to another collection now; if so, puts that one into the request."""
        target = await self._resolve(grant, alias, fresh=True)
        if target == getattr(request, rpc.collection):
            return False
        setattr(request, rpc.collection, target)
        return True

    async def _charge_or_wait(self, call: Call, items: int) -> None:
        """Keeps the caller to its rate: delays a message of a stream, refuses a unary call."""
        assert call.caller is not None, "authenticated"
        if call.streaming:
            await asyncio.sleep(self._gate.reserve(call.caller, items))
        else:
            self._gate.charge(call.caller, items)

    def charge_afterwards(self, call: Call, answer_bytes: int) -> None:
        """Charges the caller for the answer and for work beyond the items that the request names.

        If the caller has too little left, its next calls wait.
        """
        items = afterwards(answer_bytes)
        if call.caller is not None and items:
            self._gate.reserve(call.caller, items)


def authorize_label_set(grant: Grant, name: str) -> None:
    """Raises PermissionDenied unless the token allows the label set. An empty name is allowed."""
    if name and not grant.sees_label_set(name):
        raise PermissionDenied(
            f"token {grant.name!r} may not use label set {name[:80]!r}: its labels= does not allow it",
            metadata={"label_set": name[:80]},
        )


def rpc_of(request: Any) -> Rpc:
    """The RPC of a request: each RPC has its own request type, named after it."""
    return RPCS[request.DESCRIPTOR.name.removesuffix("Request")]
