"""The machine: its ports and its clock."""

from __future__ import annotations

import datetime as dt
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from faults import ROOT
from faults.calls import Calls
from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.row import Promise, at_most, only, row
from testing.service import BIN, Gateway

LIBFAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
JUMPS = (3600, 0, -3600, 7200, 0)
"""Seconds that the wall clock is away from the true time, one after the other."""
EACH_SECONDS = 3.0
SEEN_SECONDS = 2.5
"""After which libfaketime has seen a jump: it looks once a second, and counts in whole ones."""
LASTING, SHORT = "a-token-that-lasts", "a-token-that-ends"
SHORT_SECONDS = 1800
"""From now to the end of the short token."""


@row("port-taken", quick=True)
def port_taken(env: FaultEnv) -> Iterator[Promise]:
    """A gateway is started on a gRPC port, then on an HTTP port, that another program listens on."""
    for option in ("--port", "--http-port", "--api-port"):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            command = [BIN / "clipserve-gateway", "serve", "--triton", "127.0.0.1:1", "--port", "0"]
            command += ["--http-port", "0", "--data", str(env.subfolder("data")), option, port]
            begin = time.monotonic()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        lines = done.stderr.strip().splitlines()
        yield Promise(f"{option}: exit code 1", f"{done.returncode}", done.returncode == 1)
        clear = bool(lines) and port in lines[-1] and option in lines[-1]
        yield Promise("its last line names port and option", lines[-1] if lines else "nothing", clear)
        yield at_most("it ends within", time.monotonic() - begin, 20.0)


@row("clock-jumps")
def clock_jumps(env: FaultEnv) -> Iterator[Promise]:
    """The gateway's wall clock jumps by hours to and fro, under 10 calls/s and 2 upserts/s (libfaketime costs
    so much that more would be overload). One token ends half an hour from now."""
    installed = LIBFAKETIME.exists()
    yield Promise("libfaketime is there (apt-get install faketime)", "yes" if installed else "no", installed)
    if not installed:
        return
    _, triton, _ = env.service()
    folder = env.subfolder("clock")
    gateway = under_faketime(env, triton.address, folder)
    client = env.client(gateway, token=LASTING)
    client.create_collection("moments")
    load = env.load(
        gateway.address,
        Flow("calls", "embed_text", rate=10, timeout=5.0, token=LASTING),
        Flow("upserts", "upsert", rate=2, collection="moments", token=LASTING),
        Flow("searches", "search", rate=2, collection="moments", token=LASTING),
        Flow("short token", "embed_text", rate=4, token=SHORT),
    )
    time.sleep(EACH_SECONDS)
    stamps, phases = [], []
    for number, jump in enumerate(JUMPS):
        (folder / "offset").write_text(f"{jump:+}")
        time.sleep(SEEN_SECONDS)
        begin = time.monotonic()
        time.sleep(EACH_SECONDS)
        phases.append((jump, begin, time.monotonic()))
        told = client.create_collection(f"at{number}").create_time
        meant = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=jump)
        stamps.append(abs((told - meant).total_seconds()))
    calls = load.finish()
    ids = [f"upserts-{number}" for number in calls.of("upserts").ok.records["number"]]
    found = {point.id for point in client.get_points("moments", ids)}
    hours = {line[10:23] for line in gateway.log.read_text().splitlines() if line.startswith('{"time"')}
    yield Promise("the fault was real: hours in the log", f"{len(hours)}", len(hours) >= 3)
    yield only("no deadline misfires: calls", calls.of("calls").codes, "OK", least=100)
    yield only("upserts and searches", calls.of("upserts", "searches").codes, "OK", least=50)
    yield at_most("nothing waits for the clock: longest call", calls.quantile(1.0), 5.0)
    yield Promise("every upsert is there", f"{len(found)} of {len(ids)}", len(found) == len(ids) > 0)
    yield at_most("create times are the clock's own, to", max(stamps), 30.0)
    yield from short_token(calls.of("short token"), phases)


def under_faketime(env: FaultEnv, triton: str, folder: Path) -> Gateway:
    """A gateway whose wall clock is as far off as the file `offset` says."""
    (folder / "offset").write_text("+0")
    end = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=SHORT_SECONDS)
    tokens = folder / "tokens"
    tokens.write_text(f"lasting {LASTING}\nshort {SHORT} expires={end:%Y-%m-%dT%H:%M:%SZ}\n")
    environment = {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "offset"),
        "FAKETIME_CACHE_DURATION": "1",
        # Only the wall clock is set by people and by NTP.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return env.gateway(triton, "--token-file", str(tokens), env=environment)


def short_token(calls: Calls, phases: list[tuple[int, float, float]]) -> Iterator[Promise]:
    """It is accepted and refused by the clock's own time, however often that changes."""
    before, after = Counter[str](), Counter[str]()
    for jump, begin, end in phases:
        (after if jump > SHORT_SECONDS else before).update(calls.begun(begin, end).codes)
    yield only("the short token is good while the clock is before its end", before, "OK", least=20)
    yield only("and refused while it is after", after, "UNAUTHENTICATED", least=15)
