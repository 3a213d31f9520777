"""Decides on each request of a call that was let in, by what the request names and costs."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from clipserve_gateway.access.caller import Caller, current
from clipserve_gateway.access.cost import afterwards, cost
from clipserve_gateway.access.grants import Grant, Named
from clipserve_gateway.access.methods import RPCS, Rpc
from clipserve_gateway.access.token_gate import Gate
from clipserve_gateway.errors import CollectionNotFound, PermissionDenied, RateLimited, Unauthenticated
from clipserve_gateway.flow import stages
from clipserve_gateway.metrics import Metrics

Q = TypeVar("Q")
R = TypeVar("R")


class Names(Protocol):
    """Knows collections by name and by alias."""

    async def get(self, name: str, *, fresh: bool = False) -> Named:
        """The collection; CollectionNotFound."""
        ...


class ModelNames(Protocol):
    """Knows which model answers where none is named."""

    @property
    def default(self) -> str:
        """Its name; empty if there is none."""
        ...


class Judge:
    """Judges the requests of all calls of a gateway that asks for tokens.

    An alias is judged by its own name and by the collection that it means, and the request goes on with that
    very collection: what the alias means a moment later does not matter to it. So does an empty name of a
    model with the default one. A collection is judged by its own name and by the models whose
    embeddings it holds.

    What is refused is refused in the same words whether it exists or not.
    """

    def __init__(self, gate: Gate, names: Names, models: ModelNames, metrics: Metrics) -> None:
        self._gate = gate
        self._names = names
        self._models = models
        self._metrics = metrics

    async def judged(self, caller: Caller, request: Q, work: Callable[[Q], Awaitable[R]]) -> R:
        """What the work answers. PermissionDenied, RateLimited or Unauthenticated, and nothing is done."""
        rpc = rpc_of(request)
        try:
            caller = self._now(caller)
            named = await self._judge(caller.grant, rpc, request)
            await self._pace(caller, cost(rpc, request, stages.take_received()))
        except (PermissionDenied, RateLimited, Unauthenticated) as error:
            self._metrics.rejected.labels(error.reason.lower()).inc()
            raise
        try:
            return await work(request)
        except CollectionNotFound:
            # An alias may have been moved, and what it meant dropped, since it was last looked at.
            if not named or not await self._moved(caller.grant, rpc, request, named):
                raise
            return await work(request)

    def _now(self, caller: Caller) -> Caller:
        """The caller with what its token allows now: in a stream, it may have been withdrawn since."""
        caller = self._gate.still(caller)
        self._gate.permit(caller, caller.method)
        current.set(caller)
        stages.note("token", caller.grant.name)
        return caller

    async def _judge(self, grant: Grant, rpc: Rpc, request: Any) -> str:
        """PermissionDenied unless the caller may use all that the request names.

        Puts the collection that an alias means in the alias's place, and returns the alias.
        """
        if rpc.model:
            self._judge_model(grant, rpc.model, request)
        if rpc.label_set:
            judge_label_set(grant, attrgetter(rpc.label_set)(request))
        if grant.sees_all:
            return ""
        for field in rpc.names:
            await self._meaning(grant, attrgetter(field)(request), fresh=True)
        if not rpc.collection:
            return ""
        named: str = getattr(request, rpc.collection)
        meaning = await self._meaning(grant, named)
        setattr(request, rpc.collection, meaning)
        return named if named != meaning else ""

    async def _meaning(self, grant: Grant, name: str, *, fresh: bool = False) -> str:
        """The collection that the name means, or the name itself if it means none; PermissionDenied."""
        if grant.sees(name):
            try:
                meaning = await self._names.get(name, fresh=fresh)
            except CollectionNotFound:
                return name
            if grant.sees_collection(meaning):
                return meaning.name
        raise PermissionDenied(
            f"token {grant.name!r} may not use collection {name[:80]!r}; its collections= and models= decide",
            metadata={"collection": name[:80]},
        )

    def _judge_model(self, grant: Grant, field: str, request: Any) -> None:
        """PermissionDenied unless the caller may use the model. Puts the default one in an empty place."""
        named: str = getattr(request, field)
        wanted = named or self._models.default
        if not wanted:
            return
        if not grant.sees_model(wanted):
            what = f"model {named[:80]!r}" if named else "the model that answers where none is named"
            raise PermissionDenied(
                f"token {grant.name!r} may not use {what}; its models= decides",
                metadata={"model": named[:80]},
            )
        setattr(request, field, wanted)

    async def _moved(self, grant: Grant, rpc: Rpc, request: Any, named: str) -> bool:
        """Whether the alias means another collection by now, which then takes its place in the request."""
        meaning = await self._meaning(grant, named, fresh=True)
        if meaning == getattr(request, rpc.collection):
            return False
        setattr(request, rpc.collection, meaning)
        return True

    def charge(self, caller: Caller, items: int) -> None:
        """Takes the items from the caller's rate; where it has too few, its next calls wait."""
        self._gate.reserve(caller, items)

    async def _pace(self, caller: Caller, items: int) -> None:
        """Keeps the caller to its rate: streams are slowed down, other calls refused."""
        if caller.streaming:
            await asyncio.sleep(self._gate.reserve(caller, items))
        else:
            self._gate.spend(caller, items)


def judge_label_set(grant: Grant, name: str) -> None:
    """PermissionDenied unless the caller may use the label set of that name, if one is named."""
    if name and not grant.sees_label_set(name):
        raise PermissionDenied(
            f"token {grant.name!r} may not use label set {name[:80]!r}; its labels= decides",
            metadata={"label_set": name[:80]},
        )


presiding: contextvars.ContextVar[Judge | None] = contextvars.ContextVar("judge", default=None)
"""Judges the messages of the stream that is being served; None where no tokens are asked for."""


async def judged(request: Q, work: Callable[[Q], Awaitable[R]]) -> R:
    """What the work answers to one message of the stream being served, if that is allowed."""
    judge, caller = presiding.get(), current.get()
    if judge is None or caller is None:
        return await work(request)
    return await judge.judged(caller, request, work)


def rpc_of(request: Any) -> Rpc:
    """The RPC that a request belongs to: each has a request type of its own, named after it."""
    return RPCS[request.DESCRIPTOR.name.removesuffix("Request")]


def settle(answer_bytes: int) -> None:
    """Has the caller being served pay for what its request took beyond what it named, and for the answer."""
    judge, caller = presiding.get(), current.get()
    items = afterwards(answer_bytes)
    if judge is not None and caller is not None and items:
        judge.charge(caller, items)
