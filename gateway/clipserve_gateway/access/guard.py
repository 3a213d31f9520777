"""Decides on each request by what it names and costs, before the servicer sees it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

from clipserve_gateway import stages
from clipserve_gateway.access.caller import Caller, current
from clipserve_gateway.access.gate import Gate
from clipserve_gateway.access.grants import Grant
from clipserve_gateway.access.methods import RPCS, Rpc
from clipserve_gateway.errors import CollectionNotFound, PermissionDenied, RateLimited, Unauthenticated
from clipserve_gateway.metrics import Metrics

S = TypeVar("S")
Method = Callable[[Any, Any], Awaitable[Any]]


class Named(Protocol):
    """What a name turns out to be."""

    @property
    def name(self) -> str:
        """The collection's own name."""
        ...


class Names(Protocol):
    """Knows collections by name and by alias."""

    async def get(self, name: str, *, fresh: bool = False) -> Named:
        """The collection; CollectionNotFound."""
        ...


class Guard:
    """Stands before the servicers of a gateway that asks for tokens.

    An alias is judged by its own name and by the collection that it means, and the request goes on with that
    very collection: what the alias means a moment later does not matter to it.
    """

    def __init__(self, gate: Gate, names: Names, metrics: Metrics) -> None:
        self._gate = gate
        self._names = names
        self._metrics = metrics

    def protect(self, servicer: S, protos: FileDescriptor) -> S:
        """The servicer, with its unary methods guarded. Its streams answer each message by a unary method."""
        methods = [method for service in protos.services_by_name.values() for method in service.methods]
        for method in methods if self._gate.tokens is not None else ():
            if not method.client_streaming:
                guarded = self._guarded(RPCS[method.name], getattr(servicer, method.name))
                setattr(servicer, method.name, guarded)
        return servicer

    def _guarded(self, rpc: Rpc, method: Method) -> Method:
        @functools.wraps(method)
        async def guarded(request: Message, context: Any) -> Any:
            try:
                caller = self._caller()
                named = await self._judge(caller.grant, rpc, request)
                await self._pace(caller, cost(rpc, request))
            except (PermissionDenied, RateLimited, Unauthenticated) as error:
                self._metrics.rejected.labels(error.reason).inc()
                raise
            try:
                return await method(request, context)
            except CollectionNotFound:
                # An alias may have been moved, and what it meant dropped, since it was last looked at.
                if not named or not await self._moved(caller.grant, rpc, request, named):
                    raise
                return await method(request, context)

        return guarded

    def _caller(self) -> Caller:
        """The caller as it is now: in a stream, its token may have been withdrawn since it began."""
        caller = current.get()
        if caller is None:
            raise RuntimeError("a call came past the interceptor that admits callers")
        caller = self._gate.still(caller)
        self._gate.permit(caller, caller.method)
        current.set(caller)
        stages.note("token", caller.grant.name)
        return caller

    async def _judge(self, grant: Grant, rpc: Rpc, request: Any) -> str:
        """PermissionDenied unless the caller may use all that the request names.

        Puts the collection that an alias means in the alias's place, and returns the alias.
        """
        if grant.sees_all:
            return ""
        for field in rpc.names:
            await self._meaning(grant, attrgetter(field)(request), fresh=True)
        if not rpc.collection:
            return ""
        named = getattr(request, rpc.collection)
        setattr(request, rpc.collection, await self._meaning(grant, named))
        return named

    async def _meaning(self, grant: Grant, name: str, *, fresh: bool = False) -> str:
        """The collection that the name means, or the name itself if it means none; PermissionDenied."""
        meaning = name
        if grant.sees(name):
            try:
                meaning = (await self._names.get(name, fresh=fresh)).name
            except CollectionNotFound:
                return name
        if not grant.sees(meaning):
            raise PermissionDenied(
                f"token {grant.name!r} may not use collection {name[:80]!r}",
                metadata={"collection": name[:80]},
            )
        return meaning

    async def _moved(self, grant: Grant, rpc: Rpc, request: Any, named: str) -> bool:
        """Whether the name means another collection by now, which then takes its place in the request."""
        meaning = await self._meaning(grant, named, fresh=True)
        if meaning == getattr(request, rpc.collection):
            return False
        setattr(request, rpc.collection, meaning)
        return True

    async def _pace(self, caller: Caller, items: int) -> None:
        """Keeps the caller to its rate: streams are slowed down, other calls refused."""
        if caller.streaming:
            await asyncio.sleep(self._gate.reserve(caller, items))
        else:
            self._gate.spend(caller, items)


def cost(rpc: Rpc, request: Any) -> int:
    """Items that a request counts for, at least 1."""
    return max(1, len(getattr(request, rpc.items))) if rpc.items else 1
