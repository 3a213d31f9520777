"""Migrations while callers read and write the same points through two gateways."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import clipserve
from clipserve import Point

from faults.delay_model import DelayModel, Knobs
from faults.fault_env import FaultEnv
from faults.linear import History, Op, State, TooHard, unexplained
from faults.row import Promise, at_least, at_most, row
from faults.watch import wait_until
from testing.service import Gateway

COLLECTION, ALIAS, MODEL, TARGET = "moving", "current", "delay", "target"
WORKERS = 6
COLD, HOT = 600, 4
"""Points that are only there to be embedded, and those that everybody writes at a time."""
TURN = 1.0
"""Seconds after which other points are written, and these are only read: what is lost stays lost."""
READY_SECONDS = 90.0
MOST_WAIT = 10.0


class Worker(threading.Thread):
    """Reads, writes and deletes hot points, one call after the other and without retries, until stopped."""

    def __init__(
        self, number: int, addresses: list[str], history: History, stop: threading.Event, begin: float
    ) -> None:
        super().__init__(daemon=True)
        self._chance = random.Random(number)
        self._number = number
        self._addresses = addresses
        self._history = history
        self._ended = stop
        self._serial = 0
        self._begin = begin
        self.codes: Counter[str] = Counter()
        self.slowest_write = 0.0

    def run(self) -> None:
        """Half of the calls go by the alias. The addresses may change while it runs."""
        clients: dict[str, clipserve.Client] = {}
        while not self._ended.is_set():
            address = self._addresses[self._chance.randrange(len(self._addresses))]
            if address not in clients:
                clients[address] = clipserve.Client(address, retry=None, timeout=30)
            self._call(clients[address], self._chance.choice((COLLECTION, ALIAS)))
        for client in clients.values():
            client.close()

    def _call(self, client: clipserve.Client, name: str) -> None:
        kind = self._chance.choice(("read", "read", "write", "write", "delete"))
        turn = int((time.monotonic() - self._begin) / TURN)
        if kind == "read" and self._chance.random() < 0.5:
            turn = self._chance.randrange(turn + 1)
        id = f"hot-{turn}-{self._chance.randrange(HOT)}"
        self._serial += 1
        value = f"{self._number}.{self._serial}"
        written = value if kind == "write" else None
        begin, end, code = time.monotonic(), math.inf, "OK"
        found: State = None
        try:
            if kind == "read":
                found = payload_of(client.get_points(name, [id]))
            elif kind == "write":
                client.upsert(name, [Point(id, text=value, payload={"value": value})])
            else:
                client.delete_points(name, [id])
            end = time.monotonic()
        except clipserve.ClipserveError as error:
            code = error.code or type(error).__name__
            time.sleep(0.05)
        self.codes[code] += 1
        if kind != "read":
            self._history.add(id, Op(begin, end, written))
            self.slowest_write = max(self.slowest_write, min(end, time.monotonic()) - begin)
        elif code == "OK":
            self._history.add(id, Op(begin, end, found, read=True))


def payload_of(points: list[Point]) -> State:
    """What a point says it is; None where there is none."""
    return str(points[0].payload["value"]) if points else None


@row("migration-update")
def migration_update(env: FaultEnv) -> Iterator[Promise]:
    """Two gateways on one store, and 6 callers that read, write and delete the same few points through
    both of them, by the collection's name and by an alias. Meanwhile the collection is migrated; the
    gateway that does it gets SIGKILL half-way, and another one is started; it is switched, rolled back,
    switched again and ended, through either gateway. What each caller saw is checked for
    linearizability, point by point."""
    model = env.model()
    DelayModel(model.repository.parent, TARGET, Knobs(seed=1))
    triton = env.triton(model.repository)
    data = str(env.subfolder("data"))
    options = ("--default-model", MODEL, "--canary-seconds", "600")
    first = env.gateway(triton.address, *options, data=data)
    second = env.gateway(triton.address, *options, data=data)
    one, two = env.client(first), env.client(second)
    one.create_collection(COLLECTION, model=MODEL, schema={"value": "string"}, keep_sources=True)
    one.put_alias(ALIAS, COLLECTION)
    cold = [Point(f"cold-{n:04}", text=f"thing {n}") for n in range(COLD)]
    one.upsert(COLLECTION, cold)
    history, stop = History(), threading.Event()
    addresses = [first.address, second.address]
    begin = time.monotonic()
    workers = [Worker(n, addresses, history, stop, begin) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    try:
        third = move(
            env, first, one, two, addresses, lambda: env.gateway(triton.address, *options, data=data)
        )
    finally:
        stop.set()
        for worker in workers:
            worker.join(60)
    alive = sum(worker.is_alive() for worker in workers)
    ids = sorted(history.keys)
    for client in (two, third):
        begin = time.monotonic()
        found = {point.id: payload_of([point]) for point in client.get_points(COLLECTION, ids)}
        for id in ids:
            history.add(id, Op(begin, time.monotonic(), found.get(id), read=True))
    codes = sum((worker.codes for worker in workers), Counter[str]())
    yield at_least("reads that were answered", history.count(read=True), 300)
    yield at_least("writes and deletes that were acknowledged", history.count(read=False), 300)
    what = "points whose reads no order of the writes explains"
    try:
        bad = unexplained(history.keys)
        yield Promise(what, f"{len(bad)} of {len(history.keys)}: {', '.join(bad)}".rstrip(": "), not bad)
    except TooHard as error:
        yield Promise(what, f"not known: {error}", False)
    seen = ", ".join(f"{count:,} {code}" for code, count in codes.most_common())
    allowed = {"OK", "UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED", "CANCELLED"}
    yield Promise("callers hear nothing but OK and what may be tried again", seen, set(codes) <= allowed)
    left = two.count(COLLECTION) - len(found)
    yield Promise("points that nobody wrote to are all there", f"{left} of {COLD}", left == COLD)
    yield Promise("no caller hangs", f"{alive}", not alive)
    slowest = max(worker.slowest_write for worker in workers)
    yield at_most("the slowest write, held back by a switch", slowest, MOST_WAIT)


def move(
    env: FaultEnv,
    first: Gateway,
    one: clipserve.Client,
    two: clipserve.Client,
    addresses: list[str],
    another: Callable[[], Gateway],
) -> clipserve.Client:
    """The migration from its start to its end; a client of the gateway that was started in the middle."""
    one.start_migration(COLLECTION, TARGET)
    begun = wait_until(lambda: migrated(two) > 0, READY_SECONDS)
    assert begun < READY_SECONDS, "the migration does not begin"
    first.process.kill()
    first.process.wait()
    gateway = another()
    third = env.client(gateway)
    addresses[0] = gateway.address
    ready = wait_until(lambda: state(two) == "ready", READY_SECONDS)
    assert ready < READY_SECONDS, two.get_collection(COLLECTION).migration
    two.switch_migration(COLLECTION)
    time.sleep(1.0)
    third.roll_back_migration(ALIAS)
    time.sleep(1.0)
    third.switch_migration(COLLECTION)
    time.sleep(1.0)
    two.end_migration(ALIAS)
    time.sleep(1.0)
    assert two.get_collection(COLLECTION).model.name == TARGET
    return third


def migrated(client: clipserve.Client) -> int:
    """Points that have been looked at."""
    migration = client.get_collection(COLLECTION).migration
    return 0 if migration is None else migration.done


def state(client: clipserve.Client) -> str:
    """How far the migration has come."""
    migration = client.get_collection(COLLECTION).migration
    return "" if migration is None else migration.state
