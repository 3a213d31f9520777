"""Sends the calls, some at a time, and keeps those that went wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.fuzz.calls import Plan, Plans
from bench.fuzz.check import fault, tally
from bench.fuzz.open import send_open
from bench.fuzz.report import Report, bar
from bench.fuzz.target import Target
from testing.hostile.sending import OPTIONS, Outcome, send
from testing.hostile.world import World, build

TIMEOUT = 30.0
"""Seconds for one call; one that takes longer hangs."""
MOST_FINDINGS = 50
"""Then it stops."""


async def fuzz(
    target: Target, cases: int, seed: int, kinds: Sequence[str], callers: int, keep: Path
) -> Report:
    """Sends at least so many cases."""
    async with grpc.aio.insecure_channel(target.address, options=OPTIONS) as channel:
        world = await build(channel)
        limits = (await send(channel, "ClipService/GetServerInfo", b"")).responses[0].limits
        run = Run(target, world, Plans(seed, world.dim, kinds), cases, keep / str(seed))
        watching = asyncio.create_task(target.watch())
        began = time.monotonic()
        with bar(cases) as progress:
            await asyncio.gather(*(run.call(progress) for _ in range(callers)))
        watching.cancel()
        seconds = time.monotonic() - began
        return Report(
            seed=seed,
            seconds=seconds,
            cases=run.done,
            calls=run.sent,
            outcomes=run.outcomes,
            slowest=run.slowest,
            findings=run.findings + await afterwards(target, world, channel),
            target=target,
            max_pixels=limits.max_image_pixels,
        )


class Run:
    """One run: what has been sent, and what came of it."""

    def __init__(self, target: Target, world: World, plans: Plans, cases: int, keep: Path) -> None:
        self._target, self._world, self._plans, self._cases, self._keep = target, world, plans, cases, keep
        self.sent = self.planned = self.done = 0
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.slowest: list[tuple[float, Plan]] = []
        self.findings: list[str] = []

    async def call(self, progress) -> None:
        """Sends calls until there are cases enough."""
        while self.planned < self._cases and len(self.findings) < MOST_FINDINGS:
            plan = self._plans.make(self.sent)
            self.sent += 1
            self.planned += plan.cases
            began = time.monotonic()
            outcome = await deliver(self._world.channel, plan)
            seconds = time.monotonic() - began
            self.slowest = sorted([*self.slowest, (seconds, plan)], key=lambda it: -it[0])[:5]
            self.outcomes[plan.kind] += tally(plan, outcome)
            self.done += plan.cases
            progress(plan.cases)
            wrong = fault(plan, outcome, self._world)
            if wrong:
                self.findings.append(f"{wrong}\n    {self._kept(plan, wrong)}")

    def _kept(self, plan: Plan, wrong: str) -> str:
        """Writes a call into a folder; how to send it again."""
        folder = self._keep.with_name(f"{self._keep.name}-{plan.number}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "request.bin").write_bytes(plan.request)
        facts = {"method": plan.method, "kind": plan.kind, "number": plan.number, "wrong": wrong}
        facts |= {"cases": plan.cases, "paths": plan.paths, "compressed": plan.compressed}
        (folder / "call.json").write_text(json.dumps(facts, indent=1))
        return f"python -m bench.fuzz replay {folder}"


async def deliver(channel: grpc.aio.Channel, plan: Plan) -> Outcome:
    """Makes the call."""
    if plan.kind == "open":
        how = plan.compressed
        return await send_open(channel, plan.method, plan.request, compressed=how, timeout=TIMEOUT)
    return await send(channel, plan.method, plan.request, timeout=TIMEOUT)


async def again(target: Target, folder: Path) -> str:
    """Sends a kept call again; what is wrong, if anything still is."""
    facts = json.loads((folder / "call.json").read_text())
    request = (folder / "request.bin").read_bytes()
    paths = tuple(facts["paths"])
    plan = Plan(facts["number"], facts["kind"], facts["method"], request, facts["cases"], paths)
    plan = replace(plan, compressed=facts.get("compressed", False))
    async with grpc.aio.insecure_channel(target.address, options=OPTIONS) as channel:
        world = await build(channel)
        outcome = await deliver(channel, plan)
        print(
            f"{plan.method}, {len(request):,} bytes: {outcome.code} {outcome.reason} {outcome.message[:300]}"
        )
        return fault(plan, outcome, world) or "; ".join(await afterwards(target, world, channel))


async def afterwards(target: Target, world: World, channel: grpc.aio.Channel) -> list[str]:
    """What is wrong with the gateway itself."""
    found = []
    health = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        found.append(f"the gateway's health is {answer.status}")
    outcome = await world.embed([])
    found.append(world.neighbors_fault(outcome.responses[0].results) if outcome.responses else str(outcome))
    found.append(await world.kept_fault())
    if target.pid and not target.is_the_same:
        found.append(f"process {target.pid} is not there any more")
    found += [f"in the log: {line[:400]}" for line in target.errors()[:5]]
    return [it for it in found if it]
