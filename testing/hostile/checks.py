"""Sends cases to a gateway and says where it did not do what was promised."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from clipserve_gateway.convert.filters import read_filter
from clipserve_gateway.convert.payload import read_payload, read_schema
from clipserve_gateway.settings import Settings

from testing.hostile.cases import Call, Item
from testing.hostile.payloads import SCHEMA
from testing.hostile.sending import Outcome, send
from testing.hostile.world import COLLECTION, KEPT, PAYLOADS, PICTURE, World, axis, points
from testing.memory_engine import matches

LIMITS = Settings().limits

BATCH = 40
"""Bad items of one call."""
AT_ONCE = 8
"""Calls."""
NAMES = ["a cat", "a dog"]
CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


async def call_faults(world: World, cases: Sequence[Call]) -> list[str]:
    """What went otherwise than promised, each a sentence; some calls at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(case: Call) -> str:
        async with gate:
            return call_fault(case, await send(world.channel, case.method, case.make()))

    return [fault for fault in await asyncio.gather(*map(one, cases)) if fault]


def call_fault(case: Call, outcome: Outcome) -> str:
    """What went otherwise than promised; empty if nothing."""
    found = (outcome.code, outcome.reason, ".".join(outcome.fields))
    if outcome.responses and (status := getattr(outcome.responses[0], "status", None)) and status.code:
        # A stream answers a refused batch, and goes on.
        found = (code_name(status.code), status.reason, status.field)
    promised = (case.code, case.reason, case.field)
    return "" if found == promised else f"{case}: {found} instead of {promised}: {outcome.message[:200]}"


def code_name(code: int) -> str:
    """The name of a status code."""
    return CODE_NAMES.get(code, str(code))


def item_fault(case: Item, path: str, status: common_pb2.ItemStatus) -> str:
    """What is not as promised of one item's status; empty if nothing. `path` is the item's own."""
    field = f"{path}.{case.field}" if case.field else path
    promised = (case.reason, field if case.reason else "")
    found = (status.reason, status.field)
    return "" if found == promised else f"{case}: {found} instead of {promised}: {status.message[:200]}"


def batches(cases: Sequence[Item]) -> list[Sequence[Item]]:
    """The cases, some at a time."""
    return [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]


async def embed_faults(
    world: World, cases: Sequence[Item[clip_pb2.EmbedInput]], *, streamed: bool = False
) -> list[str]:
    """Inputs of Embed, or of EmbedStream, between the neighbors."""
    faults: list[str] = []
    for batch in batches(cases):
        outcome = await world.embed([case.value for case in batch], streamed=streamed)
        if outcome.code != "OK":
            faults.append(f"{batch[0]} … {batch[-1]}: {outcome}")
            continue
        [response] = outcome.responses
        results = (response.response if streamed else response).results
        faults.append(world.neighbors_fault(results))
        for i, (case, result) in enumerate(zip(batch, results[1:-1], strict=True), 1):
            faults.append(item_fault(case, f"inputs[{i}]", result.status))
            if result.HasField("embedding") == bool(case.reason):
                faults.append(f"{case}: its embedding is there, or missing, against its status")
    return [fault for fault in faults if fault]


async def classify_faults(world: World, cases: Sequence[Item[bytes]]) -> list[str]:
    """Images of Classify, before a sound one."""
    faults: list[str] = []
    for batch in batches(cases):
        images = [common_pb2.Image(content=content) for content in (*(case.value for case in batch), PICTURE)]
        request = clip_pb2.ClassifyRequest(images=images, labels=clip_pb2.LabelSet(names=NAMES))
        outcome = await send(world.channel, "ClipService/Classify", request.SerializeToString())
        if outcome.code != "OK":
            faults.append(f"{batch[0]} … {batch[-1]}: {outcome}")
            continue
        *results, sound = outcome.responses[0].results
        faults.append("" if len(sound.scores) == 2 else f"the sound picture has no scores: {sound}")
        for i, (case, result) in enumerate(zip(batch, results, strict=True)):
            faults.append(item_fault(case, f"images[{i}].content", result.status))
    return [fault for fault in faults if fault]


async def upsert_faults(world: World, cases: Sequence[Item[collection_pb2.PointInput]]) -> list[str]:
    """Points, each batch beside a sound one, that the good ones of are there afterwards."""
    faults: list[str] = []
    for batch in batches(cases):
        sound = collection_pb2.PointInput(id="a sound neighbor", embedding=axis(2, world.dim))
        request = points(COLLECTION, [*(case.value for case in batch), sound])
        outcome = await send(world.channel, "CollectionService/UpsertPoints", request.SerializeToString())
        if outcome.code != "OK":
            faults.append(f"{batch[0]} … {batch[-1]}: {outcome}")
            continue
        *statuses, neighbor = outcome.responses[0].statuses
        faults.append(neighbor.message)
        for i, (case, status) in enumerate(zip(batch, statuses, strict=True)):
            faults.append(item_fault(case, f"points[{i}]", status))
        faults += await stored_faults(world, [case.value for case in batch if not case.reason])
    return [fault for fault in faults if fault]


async def filter_faults(world: World, cases: Sequence[Item[common_pb2.Filter]]) -> list[str]:
    """Filters that find other points than they mean."""
    schema = read_schema(SCHEMA)
    payloads = [read_payload(payload, schema, "payload") for payload in PAYLOADS]
    faults = []
    for case in cases:
        request = collection_pb2.CountPointsRequest(collection=KEPT, filter=case.value)
        outcome = await send(world.channel, "CollectionService/CountPoints", request.SerializeToString())
        filter = read_filter(case.value, schema, LIMITS)
        expected = sum(matches(filter, payload) for payload in payloads)
        if outcome.code != "OK" or outcome.responses[0].count != expected:
            faults.append(f"{case}: not {expected} points, but {outcome}")
    return faults


async def stored_faults(world: World, written: Sequence[collection_pb2.PointInput]) -> list[str]:
    """Points that are not there, or not as they were written."""
    if not written:
        return []
    request = collection_pb2.GetPointsRequest(collection=COLLECTION, ids=[point.id for point in written])
    outcome = await send(world.channel, "CollectionService/GetPoints", request.SerializeToString())
    found = {point.id: point for point in outcome.responses[0].points} if outcome.responses else {}
    faults = []
    for point in written:
        stored = found.get(point.id)
        if stored is None:
            faults.append(f"point {point.id[:80]!r} was answered OK and is not there: {outcome.message}")
        elif {name: micros(value) for name, value in point.payload.items()} != dict(stored.payload):
            faults.append(f"point {point.id[:80]!r} has another payload: {str(stored.payload)[:200]}")
    return faults


def micros(value: common_pb2.Value) -> common_pb2.Value:
    """The value as it is kept: moments to the microsecond."""
    kept = common_pb2.Value()
    kept.CopyFrom(value)
    if kept.HasField("timestamp_value"):
        kept.timestamp_value.nanos -= kept.timestamp_value.nanos % 1_000
    return kept
