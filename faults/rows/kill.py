"""The gateway is killed while it writes, again and again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import clipserve
import numpy as np
from clipserve import Point
from clipserve_gateway.inputs import preprocess

from faults.backend import answers
from faults.delay_model import LIMITS
from faults.fault_env import FaultEnv
from faults.flows import embedding, picture
from faults.row import Promise, at_least, at_most, row
from testing.preprocessing import square
from testing.service import Gateway

COLLECTION = "killed"
WORKERS = 6
IDS = 80
"""Of each worker: few, so that they are written over and over."""
MOST_SECONDS = 0.8
"""From the first acknowledgement to the kill, at most."""
PICTURES = 7
"""Every so many serial numbers stand for a picture, whose embedding Triton makes."""

State = int | None
"""The serial number of the point that is there; None for none."""


def point(id: str, serial: int) -> Point:
    """The one point that an id and a serial number stand for."""
    payload = {"serial": serial}
    if serial % PICTURES == 0:
        return Point(id, image=picture(serial), payload=payload)
    return Point(id, embedding=np.frombuffer(embedding(serial), "<f4"), payload=payload)


def meant(serial: int) -> bytes:
    """Its embedding, byte for byte."""
    if serial % PICTURES:
        return embedding(serial)
    pixels = preprocess.load_image(picture(serial), *square(answers.SIDE), limits=LIMITS, fast=False)
    row = answers.of_images(pixels[None], 0)[0]
    return (row / float(np.linalg.norm(row))).astype("<f4").tobytes()


class Ledger:
    """What may be there: for each id the state that was acknowledged last, and those that were under way."""

    def __init__(self) -> None:
        self.allowed: dict[str, list[State]] = {}
        """Id → what it may be, the newest last."""
        self.acknowledged = 0
        self._lock = threading.Lock()
        self._serial = 0

    def intend(self, ids: list[str], delete: bool) -> State:
        """Notes what is about to be done to some ids; the serial number it gets."""
        with self._lock:
            self._serial += 1
            state = None if delete else self._serial
            for id in ids:
                self.allowed.setdefault(id, [None]).append(state)
            return state

    def acknowledge(self, ids: list[str], state: State) -> None:
        """Notes that it was done."""
        with self._lock:
            self.acknowledged += 1
            for id in ids:
                self.allowed[id] = [state]

    def newest(self, id: str) -> State:
        """What the operation under way would make of an id."""
        return self.allowed[id][-1]


class Worker(threading.Thread):
    """One operation after the other on ids of its own, until one fails."""

    def __init__(self, name: str, client: clipserve.Client, ledger: Ledger, first: threading.Event) -> None:
        super().__init__(daemon=True)
        self._ids = [f"{name}-{n}" for n in range(IDS)]
        self._client = client
        self._ledger = ledger
        self._first = first
        self.failure = ""

    def run(self) -> None:
        """Never ends by itself."""
        while True:
            delete = random.random() < 0.2
            ids = random.sample(self._ids, random.choice((1, 1, 1, 5, 30)))
            state = self._ledger.intend(ids, delete)
            try:
                if state is None:
                    self._client.delete_points(COLLECTION, ids)
                else:
                    self._client.upsert(COLLECTION, [point(id, state) for id in ids])
            except clipserve.ClipserveError as error:
                self.failure = error.code
                return
            self._ledger.acknowledge(ids, state)
            self._first.set()


@row("gateway-killed")
def gateway_killed(env: FaultEnv) -> Iterator[Promise]:
    """50 times, the gateway gets SIGKILL at a random moment under upserts and deletes of 6 callers, and is
    started again on its data."""
    _, triton, _ = env.service()
    data = str(env.subfolder("data"))
    ledger, wrong, under_way, applied = Ledger(), [], 0, 0
    codes: set[str] = set()
    slowest = 0.0
    for kill in range(env.tries + 1):
        begin = time.monotonic()
        gateway = env.gateway(triton.address, data=data)
        slowest = max(slowest, time.monotonic() - begin)
        with clipserve.Client(gateway.address, retry=None, timeout=20) as client:
            if kill == 0:
                client.create_collection(COLLECTION, schema={"serial": "int"})
            found = contents(client)
            wrong += [f"kill {kill}: {problem}" for problem in problems(ledger, found)]
            open_ids = [id for id, states in ledger.allowed.items() if len(states) > 1]
            under_way += len(open_ids)
            applied += sum(ledger.newest(id) == state_of(found, id) for id in open_ids)
            settle(ledger, found)
            if kill < env.tries:
                codes |= write_and_kill(client, gateway, ledger)
    gateway.stop()
    for problem in wrong[:10]:
        print("  ", problem)
    yield at_least(f"operations acknowledged in {env.tries} kills", ledger.acknowledged, env.tries)
    yield at_least("ids with an operation under way when it was killed", under_way, env.tries)
    what = "acknowledged writes and deletes that are not as they were, byte for byte"
    yield Promise(what, f"{len(wrong)}; of {under_way} points under way {applied} took effect", not wrong)
    yield Promise("callers hear UNAVAILABLE", ", ".join(sorted(codes)), codes == {"UNAVAILABLE"})
    yield at_most("the longest start until it is ready", slowest, 30.0)


def write_and_kill(
    client: clipserve.Client, gateway: Gateway, ledger: Ledger, least_seconds: float = 0.0
) -> set[str]:
    """Lets workers write, and kills the gateway at least so long after the first acknowledgement."""
    first = threading.Event()
    workers = [Worker(str(n), client, ledger, first) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    assert first.wait(30), "no operation was acknowledged"
    time.sleep(least_seconds + random.uniform(0.0, MOST_SECONDS))
    gateway.process.kill()
    gateway.process.wait()
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive(), "a caller hangs"
    return {worker.failure for worker in workers}


def contents(client: clipserve.Client) -> dict[str, tuple[int, bytes]]:
    """Id → serial number and embedding of every point, read through the API."""
    found: dict[str, tuple[int, bytes]] = {}
    points = list(client.scroll(COLLECTION, with_embeddings=True))
    for it in points:
        found[it.id] = (int(str(it.payload["serial"])), np.asarray(it.embedding, "<f4").tobytes())
    assert len(found) == len(points) == client.count(COLLECTION), "an id is there twice, or miscounted"
    return found


def state_of(found: dict[str, tuple[int, bytes]], id: str) -> State:
    """What is there under an id."""
    return found[id][0] if id in found else None


def problems(ledger: Ledger, found: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """What is there and should not be, or is not and should."""
    for id in ledger.allowed.keys() | found.keys():
        state = state_of(found, id)
        if state not in ledger.allowed.get(id, [None]):
            yield f"{id} is {state}, not one of {ledger.allowed.get(id)}"
        elif state is not None and found[id][1] != meant(state):
            yield f"{id}: the embedding of {state} is another one"


def settle(ledger: Ledger, found: dict[str, tuple[int, bytes]]) -> None:
    """From now on, what is there is what must be there."""
    for id in ledger.allowed:
        ledger.allowed[id] = [state_of(found, id)]
