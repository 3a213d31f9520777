"""All Triton replicas as one: calls go to replicas that are up and have the model in service."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Sequence, Set

import numpy as np

from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import FairQueue, Lane, current_lane
from clipserve_gateway.flow.presence import Presence
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.triton.batcher import Batcher
from clipserve_gateway.triton.bulk_batches import bulk_room
from clipserve_gateway.triton.canary import CanaryResult
from clipserve_gateway.triton.encoder import Rows
from clipserve_gateway.triton.model_config import model_name
from clipserve_gateway.triton.model_versions import ServedModel, prevailing
from clipserve_gateway.triton.parameters import TowerConfig
from clipserve_gateway.triton.replica import Replica, TritonConnection
from clipserve_gateway.triton.resolver import Resolver
from clipserve_gateway.triton.tokenizer_loader import TokenizerLoader
from clipserve_gateway.types import Floats, ModelSpec, Tower

log = logging.getLogger(__name__)

BATCHES_PER_REPLICA = 3
"""Batches of each tower that a replica gets at a time: one to work on, and others that form meanwhile."""

ATTEMPTS = 2
"""Replicas to which one batch is sent, at most."""

VERSIONS = 4
"""Versions of a tower with batchers: calls may be under way for older versions."""

NAMES_SECONDS = 5.0
"""Seconds between two DNS queries while all replicas answer; otherwise each refresh makes one."""

LEAVE_SECONDS = 60.0
"""Time for calls under way to a replica that is gone from the names."""


class ReplicaPool:
    """The gateway's encoder and source of models.

    The names are resolved again and again, so replicas can come and go. A replica that is gone from the names
    gets calls until another one has its models in service. If a call fails on one replica, it goes to another
    one, once. Belongs to one event loop.
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
        """`target` is HOST:PORT[,HOST:PORT…]. Raises ValueError if it is not."""
        self._resolver = Resolver(target)
        self._connect = connect
        self._metrics = metrics
        self._canary_seconds = canary_seconds
        self._bulk_share = bulk_share
        self._tokenizers = TokenizerLoader()
        self._replicas: dict[str, Replica] = {}
        self._presence = Presence()
        """Of interactive work at any tower: the towers of a machine share its cores."""
        self._queues: dict[tuple[str, Tower], FairQueue] = {}
        self._batchers: dict[tuple[str, Tower], dict[tuple[str, str], Batcher]] = {}
        """Of each tower: by version and fingerprint, the latest last."""
        self._reported: dict[str, ModelSpec] = {}
        """The version of each model in the last answer of `towers`."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_turn = 0
        self._addresses: list[str] = []
        self._resolved_at = -math.inf

    def check(self, spec: ModelSpec, tower: Tower, rows: int, deadline: Deadline) -> None:
        """See Encoder."""
        queue, _ = self._queue_and_batcher(spec, tower)
        queue.check(current_lane(), rows, deadline)

    def bounds_bulk(self, spec: ModelSpec, tower: Tower) -> bool:
        """See QueueingEncoder."""
        return self._queue_and_batcher(spec, tower)[0].bulk_room is not None

    async def encode(self, spec: ModelSpec, tower: Tower, rows: Rows, deadline: Deadline) -> Floats:
        """See Encoder."""
        answers: list[Floats] = []
        while len(rows):
            queue, batcher = self._queue_and_batcher(spec, tower)
            # Interactive work may have come or gone since the last call.
            max_rows = batcher.max_rows
            if queue.bulk_room is not None and current_lane() is Lane.BULK:
                max_rows = queue.bulk_room.rows
            call, rows = rows[:max_rows], rows[max_rows:]
            async with queue.slot(len(call), deadline):
                answers.append(await batcher.run(call, deadline))
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    def _queue_and_batcher(self, spec: ModelSpec, tower: Tower) -> tuple[FairQueue, Batcher]:
        """The queue and the batcher for a tower, with the limits of the replicas that serve it now.

        Rows wait in this queue, which knows lanes, and not in Triton's.
        """
        answering = [replica.answering(spec) for replica in self._replicas.values()]
        towers = [served.tower(tower) for served in answering if served is not None]
        max_rows = spec.max_image_batch if tower == "image" else spec.max_text_batch
        queue = self._queues.get((spec.name, tower))
        if queue is None:
            queue = self._queues[spec.name, tower] = FairQueue(1, self._bulk_share, presence=self._presence)
        queue.room = BATCHES_PER_REPLICA * max_rows * max(1, len(towers))
        queue.bulk_room = bulk_room(towers, max_rows, interactive=self._presence.recent)
        if queue.bulk_room is not None:
            # Room for one interactive call beside all the bulk work that is allowed.
            queue.room = max(queue.room, queue.bulk_room.units + max_rows)
        batcher = self._batcher(spec, tower)
        batcher.max_rows = max_rows
        batcher.max_calls = max(1, sum(config.instances for config in towers))
        return queue, batcher

    def _batcher(self, spec: ModelSpec, tower: Tower) -> Batcher:
        """The batcher of one version of a tower."""
        batchers = self._batchers.setdefault((spec.name, tower), {})
        key = (spec.version, spec.fingerprint)
        if key not in batchers:
            batchers[key] = Batcher(functools.partial(self._call, spec, tower), spec.tokenizer.pad_id)
            for old in list(batchers)[:-VERSIONS]:
                # Calls in it still get their answers.
                del batchers[old]
        return batchers[key]

    def reusable_result(self, address: str, spec: ModelSpec) -> CanaryResult | None:
        """The result of the last canary run of a model at `ip:port`, if it was right and is recent."""
        replica = self._replicas.get(address)
        return replica.reusable_result(spec) if replica else None

    def saturation(self) -> float:
        """How full the fullest tower is, 0–1: rows sent and waiting, over twice the rows sent at a time."""
        fullest = max(
            ((queue.inside + queue.waiting) / (2 * queue.room) for queue in self._queues.values()), default=0
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
                work = functools.partial(replica.connection.encode, own, tower, rows, deadline)
                return await replica.call(own, tower, work)
            except errors.ServerUnavailable as error:
                # Now, not at the next refresh: perhaps only one connection broke.
                replica.check_now()
                failure = error
            except (errors.ModelUnavailable, errors.InferenceFailed, errors.Overloaded) as error:
                failure = error
            tried = replica
        raise failure or errors.ModelLoading(f"model {spec.name!r} is not served just now; try again")

    def _choose(self, spec: ModelSpec, but: Replica | None = None) -> Replica | None:
        """The replica with the fewest calls under way; replicas with the same number take turns."""
        others = [replica for replica in self._replicas.values() if replica is not but]
        fit = [replica for replica in others if replica.answering(spec) is not None]
        if not fit:
            return None
        self._next_turn += 1
        start = self._next_turn % len(fit)
        return min(fit[start:] + fit[:start], key=lambda replica: replica.in_flight)

    async def repository_index(self, timeout: float) -> dict[str, frozenset[str]]:
        """Every Triton model, and its versions in service on a replica.

        Resolves the names if it is time, and refreshes all replicas. Raises ServerUnavailable if no replica
        answers.
        """
        await self._resolve()
        replicas = list(self._replicas.values())
        await asyncio.gather(*(replica.refresh(timeout) for replica in replicas))
        up = [replica for replica in replicas if replica.up]
        if not up:
            raise errors.ServerUnavailable("no inference server answers; try again in a few seconds")
        served = [version.spec for replica in up for version in replica.versions]
        self._tokenizers.keep({spec.tokenizer for spec in served if spec.tokenizer.kind != "openai_bpe"})
        index: dict[str, frozenset[str]] = {}
        for replica in up:
            for name, loaded in replica.loaded.items():
                model, tower = model_name(name), replica.tower(name)
                if model in replica.versions.current and tower is not None:
                    in_service = {tower.version} if replica.healthy(model) else set()
                else:
                    # A model with a bad configuration has no canary; Models reports what is wrong with it.
                    in_service = set(loaded)
                index[name] = index.get(name, frozenset()) | in_service
        self._forget_idle({model_name(name) for name in index})
        return index

    def _forget_idle(self, listed: Set[str]) -> None:
        """Forgets the queues and batchers of models that no replica lists and no call uses."""
        for key, queue in list(self._queues.items()):
            if key[0] not in listed and not queue.inside and not queue.waiting:
                del self._queues[key]
                self._batchers.pop(key, None)

    def why_unready(self, model: str) -> str:
        """See PooledSource: by the first replica without the model in service. Thread-safe."""
        replicas = [(address, replica) for address, replica in list(self._replicas.items()) if replica.up]
        reasons = ((address, replica.why_unready(model)) for address, replica in replicas)
        first = next((f"replica {address}: {reason}" for address, reason in reasons if reason), "")
        return first if replicas else "no Triton answers"

    async def towers(self, names: Sequence[str], timeout: float) -> list[TowerConfig]:
        """The configurations of Triton models, as most replicas with the model in service have them.

        Both towers of a model have the same version. If as many replicas have another version, the version of
        the last answer stays: all of them still answer calls for it.
        """
        models = {name: self._most(name) for name in sorted({model_name(name) for name in names})}
        self._reported = {name: served.spec for name, served in models.items() if served is not None}
        configs = []
        for name in names:
            served = models[model_name(name)]
            if served is not None:
                configs += [tower for tower in (served.image, served.text) if tower.triton_name == name]
            else:
                reported = (replica.tower(name) for replica in self._replicas.values() if replica.up)
                configs += [tower for tower in reported if tower is not None][:1]
        return configs

    def _most(self, model: str) -> ServedModel | None:
        """A model as most healthy replicas have it; None if no replica has both towers."""
        up = [replica for replica in self._replicas.values() if replica.up]
        healthy = [replica for replica in up if replica.healthy(model)] or up
        current = [replica.versions.current for replica in healthy]
        having = [versions[model] for versions in current if model in versions]
        return prevailing(having, self._reported.get(model))

    async def _resolve(self) -> None:
        replicas = self._replicas.values()
        now, all_up = time.monotonic(), bool(replicas) and all(replica.up for replica in replicas)
        if not all_up or now - self._resolved_at >= NAMES_SECONDS:
            self._resolved_at, self._addresses = now, await self._resolver.addresses()
        addresses = self._addresses
        for address in addresses:
            if address not in self._replicas:
                self._replicas[address] = Replica(
                    address,
                    self._connect(address),
                    self._metrics,
                    self._tokenizers,
                    canary_seconds=self._canary_seconds,
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
        """Whether a replica that is gone from the names is the only one with some model in service."""
        others = [self._replicas[address] for address in named]
        served = [model for model in leaving.versions.current if leaving.up and leaving.healthy(model)]
        return any(not any(other.healthy(model) for other in others) for model in served)

    async def close(self) -> None:
        """Ends all connections; calls under way fail."""
        for task in list(self._tasks):
            task.cancel()
        for replica in self._replicas.values():
            await replica.close()
        self._tokenizers.close()
