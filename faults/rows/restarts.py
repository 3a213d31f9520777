"""Replicas that are replaced one after the other, and one of two that dies."""

from __future__ import annotations

import time
from collections.abc import Iterator

from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.row import Promise, at_least, at_most, only, row
from testing.s3_server import BUCKET, s3_server
from testing.service import Gateway

ROUNDS = 2
COLLECTION = "rolling"
DRAIN = ("--drain-seconds", "2", "--grace-seconds", "10")


@row("gateways-restarted")
def gateways_restarted(env: FaultEnv) -> Iterator[Promise]:
    """Two gateways on one S3 bucket get SIGTERM and are started again, in turn and twice, under calls of the
    SDK."""
    _, triton, _ = env.service()
    with s3_server() as environment:
        data = f"s3://{BUCKET}/data"
        gateways = [env.gateway(triton.address, *DRAIN, data=data, env=environment) for _ in range(2)]
        client = env.client(gateways[0])
        client.create_collection(COLLECTION)
        client.upsert(COLLECTION, [])
        target = "ipv4:" + ",".join(gateway.address for gateway in gateways)
        load = env.load(
            target,
            Flow("embed", "embed_text", callers=4),
            Flow("classify", "classify", callers=2),
            Flow("stream", "stream", callers=1),
            Flow("search", "search", callers=1, collection=COLLECTION),
            Flow("upsert", "upsert", callers=1, collection=COLLECTION),
            module="faults.sdk_load",
        )
        time.sleep(2)
        codes = []
        for turn in range(2 * ROUNDS):
            which = turn % 2
            codes.append(gateways[which].stop())
            gateways[which] = again(env, gateways[which], triton.address, data, environment)
            time.sleep(2)
        calls = load.finish()
        written = [f"upsert-{n}" for n in calls.of("upsert").ok.records["number"]]
        with env.client(gateways[0]) as reader:
            there = {point.id for point in reader.get_points(COLLECTION, written)}
    yield Promise("each ends with exit code", ", ".join(map(str, codes)), not any(codes))
    yield only("0 failed calls", calls.codes, "OK", least=200)
    seen = f"{len(there)} of {len(written)}"
    yield Promise("every acknowledged upsert is there", seen, there == set(written))
    yield at_most("the longest call, retries included", calls.quantile(1.0), 10.0)


def again(env: FaultEnv, gone: Gateway, triton: str, data: str, environment: dict[str, str]) -> Gateway:
    """A gateway on the ports of one that has ended."""
    ports = ("--port", str(gone.port), "--http-port", gone.http.rpartition(":")[2])
    return env.gateway(triton, *DRAIN, *ports, data=data, env=environment)


@row("tritons-restarted")
def tritons_restarted(env: FaultEnv) -> Iterator[Promise]:
    """Two Tritons behind one gateway get SIGTERM and are started again, in turn; then one gets SIGKILL."""
    model = env.model(delay=0.005)
    tritons = [env.triton(model.repository) for _ in range(2)]
    gateway = env.gateway(",".join(triton.address for triton in tritons))
    load = env.load(gateway.address, Flow("calls", "embed_text", rate=40, timeout=10))
    time.sleep(2)
    for triton in tritons:
        triton.stop()
        triton.start()
        # The gateway looks for its return every two seconds.
        time.sleep(5)
    served = [triton.executions("delay_text") for triton in tritons]
    killed = time.monotonic()
    tritons[0].kill()
    time.sleep(4)
    calls = load.finish()
    rolling = calls.begun(before=killed)
    yield only("0 failed calls, without retries of the caller", rolling.codes, "OK", least=200)
    yield at_least("each serves again; executions of the lesser", min(served), 20)
    yield only("one of two killed: no call fails", calls.begun(after=killed - 0.1).codes, "OK", least=100)
    yield at_most("and the longest takes", calls.begun(after=killed - 0.1).quantile(1.0), 1.0)
