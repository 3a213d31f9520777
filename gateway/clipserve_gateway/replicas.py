"""All Triton replicas as one: calls go to those that are up and answer right."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from clipserve_gateway import errors
from clipserve_gateway.addresses import Resolver
from clipserve_gateway.batching import Batcher
from clipserve_gateway.deadline import Deadline
from clipserve_gateway.encoder import Rows
from clipserve_gateway.known_answer import Finding
from clipserve_gateway.lanes import Gate, current_lane
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.model_config import TowerConfig, model_name
from clipserve_gateway.replica import Connection, Replica
from clipserve_gateway.types import Floats, Ids, ModelSpec, Pixels, Tower

log = logging.getLogger(__name__)

BATCHES_PER_REPLICA = 3
"""Batches of each tower that a replica gets at a time: one to work on, and those that form meanwhile."""

ATTEMPTS = 2
"""Replicas that one batch is sent to."""

LEAVE_SECONDS = 60.0
"""How long calls to a replica that is gone from the names may still take."""


class Replicas:
    """The encoder and the source of models that the gateway uses.

    Names are looked up again at every refresh, so replicas may come and go. A call that a replica fails goes
    to another one, once: encoding changes nothing, so it may be done twice. Belongs to one event loop.
    """

    def __init__(
        self,
        target: str,
        connect: Callable[[str], Connection],
        metrics: Metrics,
        *,
        examine_seconds: float | None,
        bulk_share: float = 0.1,
    ) -> None:
        """`target` is HOST:PORT[,HOST:PORT…]; raises ValueError for one that is not."""
        self._resolver = Resolver(target)
        self._connect = connect
        self._metrics = metrics
        self._examine_seconds = examine_seconds
        self._bulk_share = bulk_share
        self._replicas: dict[str, Replica] = {}
        self._gates: dict[tuple[str, Tower], Gate] = {}
        self._batchers: dict[tuple[str, str, Tower], Batcher] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = 0

    async def encode_image(self, spec: ModelSpec, pixels: Pixels, deadline: Deadline) -> Floats:
        """See Encoder."""
        return await self._encode(spec, "image", pixels, deadline)

    async def encode_text(self, spec: ModelSpec, ids: Ids, deadline: Deadline) -> Floats:
        """See Encoder."""
        return await self._encode(spec, "text", ids, deadline)

    def check(self, spec: ModelSpec, tower: Tower, rows: int, deadline: Deadline) -> None:
        """See Encoder."""
        gate, _ = self._way(spec, tower)
        gate.check(current_lane(), rows, deadline)

    async def _encode(self, spec: ModelSpec, tower: Tower, rows: Rows, deadline: Deadline) -> Floats:
        gate, batcher = self._way(spec, tower)
        async with gate.passing(len(rows), deadline):
            return await batcher.run(rows, deadline)

    def _way(self, spec: ModelSpec, tower: Tower) -> tuple[Gate, Batcher]:
        """Where rows for a tower wait (in here, where lanes are told apart, not in Triton's queue), and where
        those that have passed join others."""
        serving = [replica for replica in self._replicas.values() if replica.serves(spec)]
        most = spec.max_image_batch if tower == "image" else spec.max_text_batch
        gate = self._gates.get((spec.name, tower))
        if gate is None:
            gate = self._gates[spec.name, tower] = Gate(1, self._bulk_share)
        gate.room = BATCHES_PER_REPLICA * most * max(1, len(serving))
        batcher = self._batchers.get((spec.name, spec.fingerprint, tower))
        if batcher is None:
            send = functools.partial(self._call, spec, tower)
            batcher = self._batchers[spec.name, spec.fingerprint, tower] = Batcher(send)
        batcher.most = most
        towers = [replica.tower(spec.name, tower) for replica in serving]
        batcher.calls = max(1, sum(it.calls for it in towers))
        batcher.instances = max(1, sum(it.instances for it in towers))
        return gate, batcher

    def recent(self, address: str, spec: ModelSpec) -> Finding | None:
        """The last right answers of a model at `ip:port`, if they are to be relied on still."""
        replica = self._replicas.get(address)
        return replica.recent(spec) if replica else None

    def saturation(self) -> float:
        """Rows sent and waiting, over twice what is sent at a time: 0–1, of the fullest tower."""
        fullest = max(
            ((gate.inside + gate.waiting) / (2 * gate.room) for gate in self._gates.values()), default=0
        )
        return min(1.0, fullest)

    async def _call(self, spec: ModelSpec, tower: Tower, rows: Rows, deadline: Deadline) -> Floats:
        self._metrics.encode_rows.labels(tower).observe(len(rows))
        failure: errors.ClipserveError | None = None
        tried: Replica | None = None
        for _ in range(ATTEMPTS):
            replica = self._choose(spec, but=tried)
            if replica is None:
                break
            deadline.check("encode")
            try:
                to = replica.connection
                encode: Callable[..., Awaitable[Floats]] = (
                    to.encode_image if tower == "image" else to.encode_text
                )
                return await replica.call(spec.name, tower, functools.partial(encode, spec, rows, deadline))
            except errors.ServerUnavailable as error:
                # At once, not at the next look-out: it may have been one connection that broke.
                replica.ask_again()
                failure = error
            except (errors.ModelUnavailable, errors.InferenceFailed, errors.Overloaded) as error:
                failure = error
            tried = replica
        raise failure or errors.ModelUnavailable(f"model {spec.name!r} is not served just now; try again")

    def _choose(self, spec: ModelSpec, but: Replica | None = None) -> Replica | None:
        """The replica with the fewest calls under way; those with as few take turns."""
        fit = [replica for replica in self._replicas.values() if replica is not but and replica.serves(spec)]
        if not fit:
            return None
        self._turn += 1
        start = self._turn % len(fit)
        return min(fit[start:] + fit[:start], key=lambda replica: replica.in_flight)

    async def repository_index(self, timeout: float) -> dict[str, bool]:
        """Every Triton model, and whether a replica serves it and gives its known answers.

        Looks the names up again, refreshes all replicas and examines those that are due. Raises
        ServerUnavailable where none answers.
        """
        await self._look_up()
        replicas = list(self._replicas.values())
        await asyncio.gather(*(replica.refresh(timeout) for replica in replicas))
        up = [replica for replica in replicas if replica.up]
        if not up:
            raise errors.ServerUnavailable("no inference server answers; try again in a few seconds")
        found: dict[str, bool] = {}
        for replica in up:
            for name, ready in replica.index.items():
                model = model_name(name)
                # A tower whose model cannot be parsed is not examined; Models says what is wrong with it.
                fit = ready and (model not in replica.specs or replica.good(model))
                found[name] = found.get(name, False) or fit
        return found

    async def towers(self, names: Sequence[str], timeout: float) -> list[TowerConfig]:
        """The configurations of the Triton models named, as most good replicas have them."""
        found = []
        for name in names:
            model = model_name(name)
            having = [it for it in self._replicas.values() if it.up and name in it.towers]
            having = [it for it in having if it.good(model)] or having
            votes = Counter(fingerprint(it.towers[name]) for it in having)
            for replica in having:
                if fingerprint(replica.towers[name]) == votes.most_common(1)[0][0]:
                    found.append(replica.towers[name])
                    break
        return found

    async def _look_up(self) -> None:
        addresses = await self._resolver.addresses()
        for address in addresses:
            if address not in self._replicas:
                self._replicas[address] = Replica(
                    address, self._connect(address), self._metrics, examine_seconds=self._examine_seconds
                )
        for address in self._replicas.keys() - set(addresses):
            log.info("replica %s is gone from the names", address)
            leaving = asyncio.create_task(self._replicas.pop(address).leave(LEAVE_SECONDS))
            self._tasks.add(leaving)
            leaving.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends all connections; calls under way fail."""
        for task in list(self._tasks):
            task.cancel()
        for replica in self._replicas.values():
            await replica.close()


def fingerprint(tower: TowerConfig) -> str:
    """Which model a tower belongs to."""
    return tower.parameters.get("fingerprint", "")
