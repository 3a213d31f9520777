"""All Triton replicas as one: calls go to those that are up and answer right."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence, Set

import numpy as np

from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Gate, Lane, current_lane
from clipserve_gateway.flow.presence import Presence
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.triton.batcher import Batcher
from clipserve_gateway.triton.bulk_batches import bulk_room
from clipserve_gateway.triton.canary import CanaryResult
from clipserve_gateway.triton.encoder import Rows
from clipserve_gateway.triton.model_config import TowerConfig, model_name
from clipserve_gateway.triton.model_versions import ServedModel
from clipserve_gateway.triton.replica import Replica, TritonConnection
from clipserve_gateway.triton.resolver import Resolver
from clipserve_gateway.types import Floats, Ids, ModelSpec, Pixels, Tower

log = logging.getLogger(__name__)

BATCHES_PER_REPLICA = 3
"""Batches of each tower that a replica gets at a time: one to work on, and those that form meanwhile."""

ATTEMPTS = 2
"""Replicas that one batch is sent to."""

VERSIONS = 4
"""Of a model, that calls may be under way for."""

NAMES_SECONDS = 5.0
"""Between two look-ups of the names while all replicas answer; while one does not, each look does it."""

LEAVE_SECONDS = 60.0
"""How long calls to a replica that is gone from the names may still take."""


class ReplicaPool:
    """The encoder and the source of models that the gateway uses.

    Names are looked up again and again, so replicas may come and go. One that is gone from the names serves
    on until another one answers right for its models. A call that a replica fails goes to another one, once:
    encoding changes nothing, so it may be done twice. Belongs to one event loop.
    """

    def __init__(
        self,
        target: str,
        connect: Callable[[str], TritonConnection],
        metrics: Metrics,
        *,
        canary_seconds: float | None,
        bulk_share: float = 0.1,
    ) -> None:
        """`target` is HOST:PORT[,HOST:PORT…]; raises ValueError for one that is not."""
        self._resolver = Resolver(target)
        self._connect = connect
        self._metrics = metrics
        self._canary_seconds = canary_seconds
        self._bulk_share = bulk_share
        self._replicas: dict[str, Replica] = {}
        self._presence = Presence()
        """Of interactive work, at whichever tower: all of a machine use the same cores."""
        self._gates: dict[tuple[str, Tower], Gate] = {}
        self._batchers: dict[tuple[str, Tower], dict[tuple[str, str], Batcher]] = {}
        """Of each tower: by version and fingerprint, the latest last."""
        self._reported: dict[str, ModelSpec] = {}
        """The version of each model that `towers` told last."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = 0
        self._addresses: list[str] = []
        self._looked_up = -math.inf

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

    def bounds_bulk(self, spec: ModelSpec, tower: Tower) -> bool:
        """See QueueingEncoder."""
        return self._way(spec, tower)[0].bulk_room is not None

    async def _encode(self, spec: ModelSpec, tower: Tower, rows: Rows, deadline: Deadline) -> Floats:
        answers: list[Floats] = []
        while len(rows):
            gate, batcher = self._way(spec, tower)
            # Interactive work may have come or gone since the last call.
            most = batcher.most
            if gate.bulk_room is not None and current_lane() is Lane.BULK:
                most = gate.bulk_room.rows
            call, rows = rows[:most], rows[most:]
            async with gate.passing(len(call), deadline):
                answers.append(await batcher.run(call, deadline))
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    def _way(self, spec: ModelSpec, tower: Tower) -> tuple[Gate, Batcher]:
        """Where rows for a tower wait (in here, where lanes are told apart, not in Triton's queue), and where
        those that have passed join others."""
        answering = [replica.answering(spec) for replica in self._replicas.values()]
        towers = [it.tower(tower) for it in answering if it is not None]
        most = spec.max_image_batch if tower == "image" else spec.max_text_batch
        gate = self._gates.get((spec.name, tower))
        if gate is None:
            gate = self._gates[spec.name, tower] = Gate(1, self._bulk_share, presence=self._presence)
        gate.room = BATCHES_PER_REPLICA * most * max(1, len(towers))
        gate.bulk_room = bulk_room(towers, most, interactive=self._presence.recent)
        if gate.bulk_room is not None:
            # An interactive call finds room beside all that bulk may have.
            gate.room = max(gate.room, gate.bulk_room.units + most)
        batcher = self._batcher(spec, tower)
        batcher.most = most
        batcher.calls = max(1, sum(it.calls for it in towers))
        batcher.instances = max(1, sum(it.instances for it in towers))
        return gate, batcher

    def _batcher(self, spec: ModelSpec, tower: Tower) -> Batcher:
        """Where rows for one version of a tower join others for the same."""
        batchers = self._batchers.setdefault((spec.name, tower), {})
        key = (spec.version, spec.fingerprint)
        if key not in batchers:
            batchers[key] = Batcher(functools.partial(self._call, spec, tower))
            for old in list(batchers)[:-VERSIONS]:
                # Callers that are in it still get their answers.
                del batchers[old]
        return batchers[key]

    def reusable_result(self, address: str, spec: ModelSpec) -> CanaryResult | None:
        """The result of the last canary run of a model at `ip:port`, if it was right and is recent."""
        replica = self._replicas.get(address)
        return replica.reusable_result(spec) if replica else None

    def saturation(self) -> float:
        """Rows sent and waiting, over twice what is sent at a time: 0–1, of the fullest tower."""
        fullest = max(
            ((gate.inside + gate.waiting) / (2 * gate.room) for gate in self._gates.values()), default=0
        )
        return min(1.0, fullest)

    async def _call(self, spec: ModelSpec, tower: Tower, rows: Rows, deadline: Deadline) -> Floats:
        self._metrics.encode_rows.labels(tower, spec.name).observe(len(rows))
        failure: errors.ClipserveError | None = None
        tried: Replica | None = None
        for _ in range(ATTEMPTS):
            replica = self._choose(spec, but=tried)
            served = replica.answering(spec) if replica else None
            if replica is None or served is None:
                break
            own = served.spec
            deadline.check("encode")
            try:
                to = replica.connection
                encode: Callable[..., Awaitable[Floats]] = (
                    to.encode_image if tower == "image" else to.encode_text
                )
                return await replica.call(own, tower, functools.partial(encode, own, rows, deadline))
            except errors.ServerUnavailable as error:
                # At once, not at the next look-out: it may have been one connection that broke.
                replica.check_now()
                failure = error
            except (errors.ModelUnavailable, errors.InferenceFailed, errors.Overloaded) as error:
                failure = error
            tried = replica
        raise failure or errors.ModelLoading(f"model {spec.name!r} is not served just now; try again")

    def _choose(self, spec: ModelSpec, but: Replica | None = None) -> Replica | None:
        """The replica with the fewest calls under way; those with as few take turns."""
        others = [replica for replica in self._replicas.values() if replica is not but]
        fit = [replica for replica in others if replica.answering(spec) is not None]
        if not fit:
            return None
        self._turn += 1
        start = self._turn % len(fit)
        return min(fit[start:] + fit[:start], key=lambda replica: replica.in_flight)

    async def repository_index(self, timeout: float) -> dict[str, frozenset[str]]:
        """Every Triton model, and the versions of it that replicas serve and give known answers with.

        Looks the names up again where it is time, refreshes all replicas and examines those that are due.
        Raises ServerUnavailable where none answers.
        """
        await self._look_up()
        replicas = list(self._replicas.values())
        await asyncio.gather(*(replica.refresh(timeout) for replica in replicas))
        up = [replica for replica in replicas if replica.up]
        if not up:
            raise errors.ServerUnavailable("no inference server answers; try again in a few seconds")
        found: dict[str, frozenset[str]] = {}
        for replica in up:
            for name, loaded in replica.loaded.items():
                model, tower = model_name(name), replica.tower(name)
                if model in replica.versions.current and tower is not None:
                    fit = {tower.version} if replica.healthy(model) else set()
                else:
                    # A tower whose model cannot be parsed is not examined; Models says what is wrong with it.
                    fit = set(loaded)
                found[name] = found.get(name, frozenset()) | fit
        return found

    async def towers(self, names: Sequence[str], timeout: float) -> list[TowerConfig]:
        """The configurations of the Triton models named, as most good replicas have them.

        Both towers of a model are of one version. Where as many replicas have another one, the version that
        was told before stays: all of them still answer for it.
        """
        models = {name: self._most(name) for name in sorted({model_name(name) for name in names})}
        self._reported = {name: served.spec for name, served in models.items() if served is not None}
        found = []
        for name in names:
            served = models[model_name(name)]
            if served is not None:
                found += [it for it in (served.image, served.text) if it.triton_name == name]
            else:
                said = (replica.tower(name) for replica in self._replicas.values() if replica.up)
                found += [it for it in said if it is not None][:1]
        return found

    def _most(self, model: str) -> ServedModel | None:
        """A model as most good replicas have it; None if no replica has it whole."""
        up = [replica for replica in self._replicas.values() if replica.up]
        good = [replica for replica in up if replica.healthy(model)] or up
        having = [it.versions.current[model] for it in good if model in it.versions.current]
        models = Counter(it.spec.fingerprint for it in having)
        versions = Counter((it.spec.fingerprint, it.spec.version) for it in having)
        before = self._reported.get(model)

        def rank(served: ServedModel) -> tuple[int, int, bool]:
            spec = served.spec
            key = (spec.fingerprint, spec.version)
            same = before is not None and (before.fingerprint, before.version) == key
            return models[spec.fingerprint], versions[key], same

        return max(having, key=rank, default=None)

    async def _look_up(self) -> None:
        now, well = time.monotonic(), bool(self._replicas) and all(it.up for it in self._replicas.values())
        if not well or now - self._looked_up >= NAMES_SECONDS:
            self._looked_up, self._addresses = now, await self._resolver.addresses()
        addresses = self._addresses
        for address in addresses:
            if address not in self._replicas:
                self._replicas[address] = Replica(
                    address, self._connect(address), self._metrics, canary_seconds=self._canary_seconds
                )
        named = set(addresses)
        for address in self._replicas.keys() - named:
            if self._needed(self._replicas[address], named):
                continue
            log.info("replica %s is gone from the names", address)
            leaving = asyncio.create_task(self._replicas.pop(address).leave(LEAVE_SECONDS))
            self._tasks.add(leaving)
            leaving.add_done_callback(self._tasks.discard)

    def _needed(self, leaving: Replica, named: Set[str]) -> bool:
        """Whether a replica that is gone from the names still answers for a model that no other does yet."""
        others = [self._replicas[address] for address in named]
        return any(not any(it.healthy(model) for it in others) for model in leaving.models_in_service())

    async def close(self) -> None:
        """Ends all connections; calls under way fail."""
        for task in list(self._tasks):
            task.cancel()
        for replica in self._replicas.values():
            await replica.close()
