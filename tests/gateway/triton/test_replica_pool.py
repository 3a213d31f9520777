"""Replicas: which get calls, and how one that fails is left out and taken back."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from types import SimpleNamespace

import numpy as np
import pytest
from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, in_lane
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.triton import breaker, canary, model_health, replica, replica_pool
from clipserve_gateway.triton.canary import inputs_of
from clipserve_gateway.triton.model_config import parse_model
from clipserve_gateway.triton.replica_pool import Replicas
from clipserve_gateway.types import ModelSpec

from testing.fakes import DIM, SIZE, FakeEncoder, FakeTriton, known_parameters, towers

PICTURE = np.random.default_rng(2).integers(0, 255, (1, SIZE, SIZE, 3), np.uint8)
"""What callers send."""


class FakeReplica(FakeTriton, FakeEncoder):
    """A Triton that tests break: away, silent, wrong, or full."""

    def __init__(self, fingerprint: str = "f" * 64) -> None:
        found = [
            *towers(fingerprint=fingerprint, **known_parameters()),
            *towers(model="other", fingerprint="0" * 64, **known_parameters()),
        ]
        FakeTriton.__init__(self, *found)
        FakeEncoder.__init__(self)
        self.calls = 0
        """Of callers: known answers are asked for at times of their own, and do not count."""
        self.away = False
        self.breaks = 0
        """Calls that break off."""
        self.silent = asyncio.Event()
        self.silent.set()
        self.wrong: set[str] = set()
        """Models, and versions."""
        self.asked: list[str] = []
        """Versions that were named."""
        self.failure: errors.ClipserveError | None = None
        self.closed = False

    async def repository_index(self, timeout: float) -> dict[str, frozenset[str]]:
        await self._reach(Deadline.after(timeout))
        return await super().repository_index(timeout)

    async def encode_image(self, spec, pixels, deadline):
        known, _ = inputs_of(spec, spec.known_answer)
        self.calls += not np.array_equal(pixels, known)
        return await self._encode(spec, super().encode_image(spec, pixels, deadline), deadline)

    async def encode_text(self, spec, ids, deadline):
        return await self._encode(spec, super().encode_text(spec, ids, deadline), deadline)

    async def _encode(self, spec, answering, deadline):
        self.asked.append(spec.version)
        try:
            await self._reach(deadline)
            if any(spec.version not in versions for versions in await self._versions(spec.name)):
                raise errors.ModelUnavailable(f"version {spec.version} is not at ready state")
            if self.breaks:
                self.breaks -= 1
                raise errors.ServerUnavailable("connection reset")
            if self.failure is not None:
                raise self.failure
        except BaseException:
            answering.close()
            raise
        answer = await answering
        return answer[:, ::-1].copy() if self.wrong & {spec.name, spec.version} else answer

    async def _versions(self, model: str) -> list[frozenset[str]]:
        loaded = await FakeTriton.repository_index(self, 1.0)
        return [loaded[f"{model}_{tower}"] for tower in ("image", "text")]

    def load(self, *versions: str, only: str = "", **changes: str) -> None:
        """Has these versions, or one tower has, and the last one's configuration."""
        for tower in towers(model_version=versions[-1], **known_parameters(), **changes):
            if tower.triton_name.endswith(only):
                self.found[tower.triton_name] = tower
                self.loaded[tower.triton_name] = frozenset(versions)

    async def _reach(self, deadline: Deadline) -> None:
        if self.away:
            raise errors.ServerUnavailable("connection refused")
        try:
            await asyncio.wait_for(self.silent.wait(), max(0.0, deadline.remaining()))
        except asyncio.TimeoutError:
            raise errors.DeadlineExceeded("no answer") from None

    async def close(self) -> None:
        self.closed = True


class Fleet:
    """Two fake replicas behind one pool."""

    def __init__(self, examine_seconds: float | None = 0.05) -> None:
        self.fakes: dict[str, FakeReplica] = {}
        self.metrics = Metrics()
        self.pool = Replicas(
            "127.0.0.1:1,127.0.0.1:2", self.connect, self.metrics, examine_seconds=examine_seconds
        )
        self.spec: ModelSpec = parse_model(*towers(**known_parameters()))

    def connect(self, address: str) -> FakeReplica:
        return self.fakes.setdefault(address, FakeReplica())

    @property
    def both(self) -> list[FakeReplica]:
        return [self.fakes["127.0.0.1:1"], self.fakes["127.0.0.1:2"]]

    async def refresh(self, timeout: float = 1.0) -> dict[str, frozenset[str]]:
        return await self.pool.repository_index(timeout)

    async def reexamine(self) -> dict[str, frozenset[str]]:
        """All examinations once more; the index after them."""
        await asyncio.sleep(0.06)
        await self.refresh()
        under_way = [task for it in self.pool._replicas.values() for task in it._examinations.values()]
        if under_way:
            await asyncio.wait(under_way, timeout=0.5)
        return await self.refresh()

    async def ask(self, spec: ModelSpec | None = None, seconds: float = 5.0) -> np.ndarray:
        return await self.pool.encode_image(spec or self.spec, PICTURE, Deadline.after(seconds))

    def ok(self, replica: int, model: str = "fake") -> float | None:
        labels = {"replica": f"127.0.0.1:{replica}", "model": model}
        return self.metrics.registry.get_sample_value("clipserve_canary_ok", labels)


@pytest.fixture
async def fleet():
    fleet = Fleet()
    await fleet.refresh()
    yield fleet
    await fleet.pool.close()


async def shares(fleet: Fleet, calls: int = 10) -> list[int]:
    """How many of some callers' calls each replica got."""
    before = [fake.calls for fake in fleet.both]
    for _ in range(calls):
        await fleet.ask()
    return [fake.calls - was for fake, was in zip(fleet.both, before, strict=True)]


async def test_calls_go_to_all_in_turn(fleet):
    assert await shares(fleet) == [5, 5]


async def test_rows_of_several_callers_go_in_one_call_and_each_gets_its_own(fleet):
    for fake in fleet.both:
        fake.silent.clear()
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, PICTURE.shape, np.uint8) for _ in range(12)]
    before = sum(fake.calls for fake in fleet.both)
    deadline = Deadline.after(5)
    asking = [asyncio.create_task(fleet.pool.encode_image(fleet.spec, it, deadline)) for it in pictures]
    await asyncio.sleep(0.01)
    for fake in fleet.both:
        fake.silent.set()
    answers = await asyncio.gather(*asking)
    # One call a replica; then four pictures are a batch, and four again, and two that wait for a call's end.
    assert sum(fake.calls for fake in fleet.both) - before == 5
    for picture, answer in zip(pictures, answers, strict=True):
        alone = await fleet.pool.encode_image(fleet.spec, picture, deadline)
        np.testing.assert_array_equal(answer, alone)
    [rows] = [
        sample.value
        for metric in fleet.metrics.encode_rows.collect()
        for sample in metric.samples
        if sample.name.endswith("_sum") and sample.labels == {"tower": "image", "model": "fake"}
    ]
    assert rows == 24


async def test_each_instance_of_a_tower_in_service_has_a_call_before_rows_wait(fleet):
    first, second = fleet.both
    first.found["fake_image"] = dataclasses.replace(first.found["fake_image"], instances=3)
    await fleet.refresh()
    _, images = fleet.pool._way(fleet.spec, "image")
    assert images.calls == 3 + 1
    second.wrong.add("fake")
    await fleet.reexamine()
    _, images = fleet.pool._way(fleet.spec, "image")
    assert images.calls == images.instances == 3


async def test_instances_that_share_cores_have_one_call_at_each_replica_before_rows_wait(fleet):
    for fake in fleet.both:
        fake.found["fake_image"] = dataclasses.replace(
            fake.found["fake_image"], instances=3, share_cores=True
        )
    await fleet.refresh()
    _, images = fleet.pool._way(fleet.spec, "image")
    assert (images.calls, images.instances) == (2, 6)


async def bulk_sizes(fleet: Fleet, rows: int) -> list[int]:
    """Rows of each call that so many rows of bulk work go in, of which as many as may be are under way."""
    sizes: list[int] = []
    under_way: list[asyncio.Event] = []

    async def send(spec, tower, batch, deadline):
        sizes.append(len(batch))
        under_way.append(asyncio.Event())
        await under_way[-1].wait()
        return np.zeros((len(batch), DIM), np.float32)

    real, fleet.pool._call = fleet.pool._call, send
    fleet.pool._batchers.clear()
    batch = np.repeat(PICTURE, rows, axis=0)
    deadline = Deadline.after(5)
    with in_lane(Lane.BULK):
        asking = [
            asyncio.create_task(fleet.pool.encode_image(fleet.spec, part, deadline))
            for part in np.split(batch, rows // 2)
        ]
    await asyncio.sleep(0.12)
    first = len(under_way)
    while not all(task.done() for task in asking):
        for event in under_way:
            event.set()
        await asyncio.sleep(0)
    assert sum(sizes) == rows
    fleet.pool._call = real
    fleet.pool._batchers.clear()
    return sizes[:first]


async def test_bulk_alone_has_one_call_at_each_instance_and_fewer_beside_interactive_work(fleet):
    for fake, instances in zip(fleet.both, (2, 1), strict=True):
        fake.found["fake_image"] = dataclasses.replace(
            fake.found["fake_image"], instances=instances, bulk_batch=2
        )
    await fleet.refresh()
    # Four pictures are a batch.
    assert sum(await bulk_sizes(fleet, 32)) == (2 + 1) * 4
    await fleet.ask()
    assert await bulk_sizes(fleet, 32) == [2, 2]


async def test_a_batch_of_bulk_work_is_cut_where_its_calls_are_small(fleet):
    for fake in fleet.both:
        fake.found["fake_image"] = dataclasses.replace(fake.found["fake_image"], bulk_batch=1)
    await fleet.refresh()
    pictures = np.random.default_rng(0).integers(0, 255, (4, *PICTURE.shape[1:]), np.uint8)
    whole = await fleet.pool.encode_image(fleet.spec, pictures, Deadline.after(5))
    before = sum(fake.calls for fake in fleet.both)
    with in_lane(Lane.BULK):
        cut = await fleet.pool.encode_image(fleet.spec, pictures, Deadline.after(5))
    np.testing.assert_array_equal(cut, whole)
    assert sum(fake.calls for fake in fleet.both) - before == 4


async def test_interactive_work_passes_bulk_that_waits(fleet):
    for fake in fleet.both:
        fake.found["fake_image"] = dataclasses.replace(fake.found["fake_image"], bulk_batch=2)
    await fleet.refresh()
    for fake in fleet.both:
        fake.silent.clear()
    with in_lane(Lane.BULK):
        jobs = [asyncio.create_task(fleet.ask()) for _ in range(50)]
    await asyncio.sleep(0.01)
    gate, _ = fleet.pool._way(fleet.spec, "image")
    assert (gate.inside, gate.waiting) == (8, 42), "a batch for each replica"
    person = asyncio.create_task(fleet.ask())
    await asyncio.sleep(0.01)
    assert (gate.inside, gate.waiting) == (9, 42)
    for fake in fleet.both:
        fake.silent.set()
    await asyncio.gather(person, *jobs)


async def test_one_with_more_under_way_gets_fewer(fleet):
    first, _ = fleet.both
    first.silent.clear()
    stuck = [asyncio.create_task(fleet.ask()) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert await shares(fleet, 4) == [0, 4]
    first.silent.set()
    await asyncio.gather(*stuck)


async def test_nobody_is_asked_before_his_known_answer_was_right():
    fleet = Fleet()
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask()


async def test_wrong_answers_take_a_replica_out_and_right_ones_take_it_back(fleet, caplog):
    first, _ = fleet.both
    first.wrong = {"fake"}
    index = await fleet.reexamine()
    assert index["fake_image"], "the other one serves"
    assert [fleet.ok(1), fleet.ok(2)] == [0, 1]
    assert "cosine" in caplog.text
    assert await shares(fleet) == [0, 10]
    first.wrong = set()
    await fleet.refresh()
    assert await shares(fleet) == [5, 5]


async def test_a_wrong_model_leaves_the_others_of_its_replica_in_service(fleet):
    for fake in fleet.both:
        fake.wrong = {"fake"}
    index = await fleet.reexamine()
    assert not index["fake_image"]
    assert index["other_image"]
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask()
    await fleet.ask(dataclasses.replace(fleet.spec, name="other", fingerprint="0" * 64))


async def test_a_call_that_finds_nobody_goes_to_another_and_the_next_ones_at_once(fleet):
    first, _ = fleet.both
    first.away = True
    assert all([(await fleet.ask()).shape == (1, DIM) for _ in range(4)])
    assert await shares(fleet, 4) == [0, 4]
    first.away = False
    await fleet.refresh()
    assert await shares(fleet) == [5, 5]


async def test_one_broken_connection_does_not_last_until_the_next_look_out(fleet):
    for fake in fleet.both:
        fake.breaks = 1
    with pytest.raises(errors.ServerUnavailable):
        await fleet.ask()
    await asyncio.sleep(0.05)
    assert await shares(fleet, 4) == [2, 2]


async def test_calls_under_way_fail_as_soon_as_it_is_known_that_nobody_answers(fleet):
    for fake in fleet.both:
        fake.silent.clear()
    waiting = asyncio.create_task(fleet.ask(seconds=60))
    await asyncio.sleep(0.01)
    begin = time.monotonic()
    with pytest.raises(errors.ServerUnavailable):
        await fleet.refresh(timeout=0.02)
    with pytest.raises(errors.ModelUnavailable):
        await waiting
    assert time.monotonic() - begin < 2
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask()


async def test_who_hangs_is_found_out_by_the_calls_that_wait_without_a_look_out(fleet, monkeypatch):
    monkeypatch.setattr(breaker, "STALL_SECONDS", 0.02)
    monkeypatch.setattr(replica, "ASK_AGAIN_SECONDS", 0.02)
    for fake in fleet.both:
        fake.silent.clear()
    begin = time.monotonic()
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask(seconds=60)
    assert time.monotonic() - begin < 2


async def test_who_takes_long_for_a_call_and_answers_questions_stays(fleet, monkeypatch):
    monkeypatch.setattr(breaker, "STALL_SECONDS", 0.02)
    encode, release = FakeReplica._encode, asyncio.Event()

    async def long(self, spec, answering, deadline):
        await release.wait()
        return await encode(self, spec, answering, deadline)

    monkeypatch.setattr(FakeReplica, "_encode", long)
    waiting = asyncio.create_task(fleet.ask())
    await asyncio.sleep(0.2)
    release.set()
    assert (await waiting).shape == (1, DIM)


async def test_a_replica_that_answers_callers_is_not_down_however_late_it_is(fleet):
    first, _ = fleet.both

    async def late(timeout: float) -> dict[str, bool]:
        await fleet.ask()
        await fleet.ask()
        raise errors.DeadlineExceeded("late")

    first.repository_index = late
    for _ in range(5):
        await fleet.refresh()
    assert await shares(fleet) == [5, 5]


async def test_a_model_that_answers_nobody_is_taken_out(monkeypatch, fleet):
    first, _ = fleet.both

    async def never(spec, pixels, deadline):
        await asyncio.sleep(max(0.0, deadline.remaining()))
        raise errors.DeadlineExceeded("late")

    first.encode_image = never
    monkeypatch.setattr(replica, "Deadline", SimpleNamespace(after=lambda _: Deadline.after(0.02)))
    for _ in range(3):
        await fleet.reexamine()
        await asyncio.sleep(0.03)
    assert fleet.ok(1) == 0


async def test_a_slow_model_is_asked_less_often_but_not_while_its_callers_get_no_answer(monkeypatch):
    for module in (canary, model_health):
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    fleet = Fleet(examine_seconds=None)
    first, works, asked = fleet.connect("127.0.0.1:1"), asyncio.Event(), []
    encode = first.encode_image

    async def slow(spec, pixels, deadline):
        asked.append(spec.name)
        await asyncio.sleep(0.02)
        await works.wait()
        return await encode(spec, pixels, deadline)

    first.encode_image = slow
    works.set()
    await fleet.refresh()
    await fleet.reexamine()
    assert asked.count("fake") == 1, "it may take a hundredth of the time, two seconds"
    works.clear()
    waiting = [asyncio.create_task(fleet.ask()) for _ in range(2)]
    await fleet.reexamine()
    works.set()
    await asyncio.gather(*waiting)
    assert asked.count("fake") == 3, "one of two calls, and a question"
    await fleet.pool.close()


async def test_what_was_right_here_a_moment_ago_is_told_and_nothing_else(fleet):
    first, _ = fleet.both
    here, spec = "127.0.0.1:1", fleet.spec
    assert fleet.pool.recent(here, spec).verdict is canary.Verdict.RIGHT
    assert fleet.pool.recent("127.0.0.1:3", spec) is None, "nobody is there"
    assert fleet.pool.recent(here, dataclasses.replace(spec, fingerprint="e" * 64)) is None, "another model"
    first.wrong.add("fake")
    await fleet.reexamine()
    assert fleet.pool.recent(here, spec) is None, "it is wrong now"
    first.wrong.clear()
    await fleet.reexamine()
    assert fleet.pool.recent(here, spec)
    first.away = True
    await fleet.refresh()
    assert fleet.pool.recent(here, spec) is None, "it is away"


async def test_a_question_that_waits_behind_others_batches_proves_nothing(monkeypatch, fleet):
    """On slow cores a batch takes longer than an examination may."""
    first, _ = fleet.both
    monkeypatch.setattr(replica, "Deadline", SimpleNamespace(after=lambda _: Deadline.after(0.02)))
    await fleet.ask()
    await fleet.ask()
    first.silent.clear()
    waiting = asyncio.gather(fleet.ask(), fleet.ask())
    for _ in range(3):
        await fleet.reexamine()
    assert fleet.ok(1) == 1
    first.silent.set()
    await waiting


async def test_one_full_queue_sends_a_call_to_the_other(fleet):
    first, _ = fleet.both
    first.failure = errors.Overloaded("full")
    for _ in range(4):
        await fleet.ask()
    await fleet.reexamine()
    assert fleet.ok(1) == 1, "a full queue says nothing of the answers"


async def test_a_slow_examination_does_not_hold_up_the_others(fleet):
    first, _ = fleet.both
    encode = first.encode_image

    async def slow(spec, pixels, deadline):
        await asyncio.sleep(30)
        return await encode(spec, pixels, deadline)

    first.encode_image = slow
    await asyncio.sleep(0.06)
    begin = time.monotonic()
    for _ in range(3):
        await fleet.refresh(timeout=1.0)
    assert time.monotonic() - begin < 0.9


async def test_when_both_fail_the_error_is_told(fleet):
    for fake in fleet.both:
        fake.failure = errors.InferenceFailed("CUDA error: device-side assert")
    with pytest.raises(errors.InferenceFailed, match="CUDA"):
        await fleet.ask()


async def test_another_model_under_the_same_name_is_not_asked(fleet):
    first, _ = fleet.both
    other = FakeReplica("e" * 64)
    first.found, first.ready = other.found, other.ready
    await fleet.refresh()
    assert await shares(fleet) == [0, 10]


async def test_another_model_under_the_same_name_is_examined_before_it_is_in_service():
    fleet = Fleet(examine_seconds=None)
    await fleet.refresh()
    for fake in fleet.both:
        fake.found, fake.wrong = FakeReplica("e" * 64).found, {"fake"}
    await fleet.refresh()
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask(dataclasses.replace(fleet.spec, fingerprint="e" * 64))
    await fleet.pool.close()


async def test_the_configuration_that_most_have_is_told(fleet):
    first, _ = fleet.both
    other = FakeReplica("e" * 64)
    first.found, first.ready = other.found, other.ready
    await fleet.refresh()
    told = await fleet.pool.towers(["fake_image"], 1.0)
    assert told[0].parameters["fingerprint"] in ("e" * 64, "f" * 64)
    second = fleet.both[1]
    second.found, second.ready = other.found, other.ready
    await fleet.refresh()
    assert (await fleet.pool.towers(["fake_image"], 1.0))[0].parameters["fingerprint"] == "e" * 64


def named(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """From now on the names lead to these addresses."""

    async def found() -> list[str]:
        return list(addresses)

    monkeypatch.setattr(fleet.pool._resolver, "addresses", found)
    monkeypatch.setattr(replica_pool, "NAMES_SECONDS", 0.0)


async def test_a_replica_that_leaves_the_names_finishes_its_calls(fleet, monkeypatch):
    first, _ = fleet.both
    first.silent.clear()
    waiting = asyncio.gather(fleet.ask(), fleet.ask())
    await asyncio.sleep(0.01)

    named(fleet, monkeypatch, "127.0.0.1:2")
    await fleet.refresh()
    assert await shares(fleet, 1) == [0, 1]
    assert not first.closed
    first.silent.set()
    assert [answer.shape for answer in await waiting] == [(1, DIM)] * 2
    await asyncio.sleep(0.01)
    assert first.closed
    assert fleet.ok(1) is None


async def test_names_are_looked_up_rarely_while_all_replicas_answer(monkeypatch):
    fleet = Fleet()
    looks = 0

    async def found() -> list[str]:
        nonlocal looks
        looks += 1
        return ["127.0.0.1:1"]

    monkeypatch.setattr(fleet.pool._resolver, "addresses", found)
    for _ in range(3):
        await fleet.refresh()
    assert looks == 1
    fleet.fakes["127.0.0.1:1"].away = True
    for _ in range(3):
        with pytest.raises(errors.ServerUnavailable):
            await fleet.refresh()
    assert looks == 3, "the first look was made while it was still up"
    monkeypatch.setattr(replica_pool, "NAMES_SECONDS", 0.0)
    fleet.fakes["127.0.0.1:1"].away = False
    await fleet.refresh()
    await fleet.refresh()
    assert looks == 5
    await fleet.pool.close()


async def test_the_last_replica_serves_on_until_the_next_one_answers_right(monkeypatch):
    fleet = Fleet()
    named(fleet, monkeypatch, "127.0.0.1:1")
    await fleet.refresh()
    fleet.fakes["127.0.0.1:2"] = second = FakeReplica()
    second.silent.clear()
    named(fleet, monkeypatch, "127.0.0.1:2")
    await fleet.refresh(timeout=0.05)
    assert (await fleet.ask()).shape == (1, DIM), "the new one has not answered yet"
    first = fleet.fakes["127.0.0.1:1"]
    assert not first.closed
    second.silent.set()
    await fleet.reexamine()
    await fleet.refresh()
    assert await shares(fleet, 2) == [0, 2]
    await asyncio.sleep(0.01)
    assert first.closed
    await fleet.pool.close()


async def test_one_that_left_the_names_and_ended_is_not_waited_for(monkeypatch):
    fleet = Fleet()
    named(fleet, monkeypatch, "127.0.0.1:1")
    await fleet.refresh()
    fleet.fakes["127.0.0.1:2"] = FakeReplica()
    fleet.both[1].silent.clear()
    named(fleet, monkeypatch, "127.0.0.1:2")
    fleet.both[0].away = True
    for _ in range(2):
        with pytest.raises(errors.ServerUnavailable):
            await fleet.refresh(timeout=0.05)
    await asyncio.sleep(0.01)
    assert fleet.both[0].closed
    await fleet.pool.close()


async def test_which_tritons_answer_is_told(fleet):
    def up() -> list[float | None]:
        value = fleet.metrics.registry.get_sample_value
        return [value("clipserve_triton_up", {"replica": f"127.0.0.1:{n}"}) for n in (1, 2)]

    assert up() == [1, 1]
    fleet.both[0].away = True
    await fleet.refresh()
    assert up() == [0, 1]
    fleet.both[0].away = False
    await fleet.refresh()
    assert up() == [1, 1]
    await fleet.pool.close()
    assert up() == [None, None]


async def test_all_connections_are_closed_at_the_end(fleet):
    await fleet.pool.close()
    assert all(fake.closed for fake in fleet.both)


NEW = "e" * 64


async def swapping(fleet: Fleet) -> ModelSpec:
    """Both replicas serve version 5; its specification as Models has it."""
    await fleet.refresh()
    for fake in fleet.both:
        fake.load("5")
    await fleet.refresh()
    return await in_service(fleet)


async def in_service(fleet: Fleet) -> ModelSpec:
    """The version that the pool tells."""
    return parse_model(*await fleet.pool.towers(["fake_image", "fake_text"], 1.0))


async def test_a_new_version_is_in_service_once_both_towers_answer_right_and_the_old_one_until_then():
    fleet = Fleet()
    old = await swapping(fleet)
    for tower in ("image", "text"):
        for fake in fleet.both:
            fake.load("5", "6", only=tower, fingerprint=NEW)
            fake.asked.clear()
        assert await in_service(fleet) == old
        await fleet.ask(old)
        index = await fleet.refresh()
        assert index["fake_image"], "ready all the while"
    new = await in_service(fleet)
    assert (new.version, new.fingerprint) == ("6", NEW)
    for fake in fleet.both:
        fake.asked.clear()
    await fleet.ask(new)
    await fleet.ask(old)
    asked = sorted(fleet.both[0].asked + fleet.both[1].asked)
    assert asked == ["5", "6"], "each request names its version"
    assert fleet.ok(1) == fleet.ok(2) == 1


async def test_a_request_for_a_version_that_is_gone_is_unavailable_and_never_answered_by_other_weights():
    fleet = Fleet()
    old = await swapping(fleet)
    for fake in fleet.both:
        fake.load("6", fingerprint=NEW)
    # Before anybody has noticed, and after.
    for _ in range(2):
        with pytest.raises(errors.ModelUnavailable):
            await fleet.ask(old)
        await fleet.refresh()
    assert (await in_service(fleet)).version == "6"


async def test_a_new_version_that_answers_wrong_is_not_taken_and_the_log_says_so(caplog):
    fleet = Fleet()
    old = await swapping(fleet)
    for fake in fleet.both:
        fake.wrong = {"6"}
        fake.load("5", "6", fingerprint=NEW)
    await fleet.refresh()
    await fleet.reexamine()
    assert await in_service(fleet) == old
    assert fleet.ok(1) == 1
    told = [record.message for record in caplog.records if "not taken into service" in record.message]
    assert len(told) == 2, "once by each replica"
    assert "version 6 of model fake" in told[0]
    for fake in fleet.both:
        fake.wrong = set()
    await fleet.reexamine()
    assert (await in_service(fleet)).version == "6"


async def test_while_replicas_switch_one_after_the_other_all_of_them_serve():
    fleet = Fleet()
    old = await swapping(fleet)
    first, second = fleet.both
    first.load("5", "6", fingerprint=NEW)
    await fleet.refresh()
    await fleet.refresh()
    assert await in_service(fleet) == old, "as many have the one as the other: nothing changes yet"
    for fake in fleet.both:
        fake.calls = 0
    for _ in range(4):
        await fleet.ask(old)
    assert first.calls == second.calls == 2
    second.load("5", "6", fingerprint=NEW)
    await fleet.refresh()
    assert (await in_service(fleet)).version == "6"


async def test_replicas_with_exports_of_their_own_of_one_model_all_serve():
    fleet = Fleet()
    await fleet.refresh()
    first, second = fleet.both
    first.load("5")
    second.load("7")
    await fleet.refresh()
    spec = await in_service(fleet)
    first.asked.clear()
    second.asked.clear()
    for _ in range(4):
        await fleet.ask(spec)
    assert set(first.asked) == {"5"}
    assert set(second.asked) == {"7"}


async def test_another_precision_of_the_same_weights_is_a_version_of_its_own():
    fleet = Fleet()
    old = await swapping(fleet)
    for fake in fleet.both:
        fake.load("5", "6", precision="bf16")
    await fleet.refresh()
    new = await in_service(fleet)
    assert (old.fingerprint, old.precision) == (new.fingerprint, "fp32")
    assert (new.version, new.precision) == ("6", "bf16")
    for fake in fleet.both:
        fake.asked.clear()
    await fleet.ask(old)
    assert "6" not in [it for fake in fleet.both for it in fake.asked], "one request is of one version"
    for fake in fleet.both:
        fake.load("6", precision="bf16")
    await fleet.refresh()
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask(old)
