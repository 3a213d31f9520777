"""Callers that break the protocol, or connections."""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import time
from collections.abc import Iterator

from faults import http2
from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.row import Promise, at_least, at_most, only, row
from faults.watch import Watch, connections, usage, wait_until

ROUNDS = 5
"""Times that each kind of nonsense is sent."""
LINGER = 0.02
"""Seconds that a connection stays open after its nonsense."""
ROOM = 20
"""File descriptors that are left to the gateway."""
CROWD = 300
"""Connections that want one each."""
RECOVERY = CROWD / ROOM + 5.0
"""Seconds. Those that have gone still stand in the listener's queue, and once a second gRPC takes up as many
as it has descriptors for."""


@row("malformed-http2")
def malformed(env: FaultEnv) -> Iterator[Promise]:
    """Garbage, half frames, false lengths, floods of pings, settings and resets, under 30 calls/s."""
    _, _, gateway = env.service()
    chance = random.Random(7)
    load = env.load(gateway.address, Flow("others", "embed_text", rate=30))
    sent = 0
    with Watch(gateway.process.pid) as watch:
        for _ in range(ROUNDS):
            for name, data in http2.nonsense(chance).items():
                refused = say(gateway.address, data)
                sent += 1
                assert not refused, f"no connection for {name}"
    calls = load.finish()
    yield at_least("nonsense sent, connections", sent, ROUNDS * 14)
    yield only("others are served", calls.codes, "OK", least=30)
    yield at_most("and soon: p99", calls.quantile(0.99), 2.0)
    yield at_most("memory grows by", watch.growth, 64, "MiB")
    alive = gateway.process.poll() is None
    yield Promise("the gateway lives", "yes" if alive else f"it ended: {gateway.process.poll()}", alive)
    closed = wait_until(lambda: connections(gateway.port) == 0, 10)
    yield at_most("all connections are closed within", closed, 10.0)


def say(address: str, data: bytes) -> bool:
    """Sends some bytes on a connection of its own; whether there was none to be had."""
    try:
        connection = http2.open_connection(address)
    except OSError:
        return True
    with connection, contextlib.suppress(OSError):
        connection.sendall(data)
        time.sleep(LINGER)
    return False


@row("no-file-descriptors")
def no_file_descriptors(env: FaultEnv) -> Iterator[Promise]:
    """The gateway may open 20 more files, and 300 connections come and stay for 5 s."""
    _, triton, _ = env.service()
    gateway = env.gateway(triton.address)
    load = env.load(gateway.address, Flow("there before", "embed_text", rate=20))
    time.sleep(1)
    pid = gateway.process.pid
    limit = usage(pid).files + ROOM
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
    crowd = [connection for _ in range(CROWD) if (connection := connected(gateway.address))]
    time.sleep(5)
    held = usage(pid).files
    for connection in crowd:
        connection.close()
    left = time.monotonic()
    newcomer = env.load(gateway.address, Flow("newcomer", "embed_text", rate=20, timeout=1.0))
    time.sleep(RECOVERY + 3)
    new, calls = newcomer.finish(), load.finish()
    yield at_least("the fault was real: descriptors held", held / limit, 0.98, "%")
    yield only("calls on connections that were there go on", calls.codes, "OK", least=100)
    yield at_most(
        "when the crowd is gone, new callers are served within", new.last_failure_after(left), RECOVERY
    )
    yield only("and stay so", new.begun(after=left + RECOVERY).codes, "OK")
    alive = gateway.process.poll() is None
    yield Promise("the gateway lives", "yes" if alive else f"it ended: {gateway.process.poll()}", alive)


def connected(address: str) -> socket.socket | None:
    """A connection; None where the backlog is full, too."""
    try:
        return http2.open_connection(address)
    except OSError:
        return None
