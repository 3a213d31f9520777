"""What an answer must be, whatever was sent."""

from __future__ import annotations

from collections import Counter

import numpy as np
from clipserve.v1 import common_pb2

from bench.fuzz.calls import Plan
from bench.fuzz.open import open_fault
from testing.hostile.checks import code_name
from testing.hostile.sending import Outcome
from testing.hostile.world import World, vector

PROMISED = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "ABORTED",
    "RESOURCE_EXHAUSTED",
}
"""How a call or an item may end; any other way is a finding."""
NO_MESSAGE = "is not a clipserve.v1."
"""In the sentence about bytes that no field can be named of."""


def statuses(plan: Plan, outcome: Outcome) -> list[common_pb2.ItemStatus]:
    """Of the items of a batch, neighbors included; of a stream's batches, where it was refused."""
    if not outcome.responses:
        return []
    response = outcome.responses[0]
    if plan.method.endswith("Stream"):
        if response.status.code:
            return [response.status]
        response = response.response
    if "Upsert" in plan.method:
        return list(response.statuses)
    return [result.status for result in getattr(response, "results", ())]


def fault(plan: Plan, outcome: Outcome, world: World) -> str:
    """What is wrong; empty if nothing."""
    if plan.kind == "open":
        return open_fault(plan.request, plan.compressed, outcome)
    if outcome.code not in PROMISED:
        return f"the call ended with {outcome.code}: {outcome.message[:300]}"
    if outcome.code != "OK":
        return refusal_fault(plan, outcome)
    found = statuses(plan, outcome)
    for status in found:
        if code_name(status.code) not in PROMISED:
            return f"an item ended with {code_name(status.code)}: {status.message[:300]}"
        if status.code and not (status.reason and status.field):
            return f"an item was refused without reason or field: {status}"
    return batch_fault(plan, outcome, found, world) if plan.paths else ""


def refusal_fault(plan: Plan, outcome: Outcome) -> str:
    """What is wrong with how a whole call was refused."""
    if plan.paths and outcome.code != "RESOURCE_EXHAUSTED":
        return f"bad items ended the whole call with {outcome.code}: {outcome.message[:300]}"
    if not outcome.reason and outcome.code != "RESOURCE_EXHAUSTED":
        return f"{outcome.code} without a reason: {outcome.message[:300]}"
    if outcome.code == "INVALID_ARGUMENT" and not outcome.fields and NO_MESSAGE not in outcome.message:
        return f"no field was named: {outcome.message[:300]}"
    return ""


def batch_fault(plan: Plan, outcome: Outcome, found: list[common_pb2.ItemStatus], world: World) -> str:
    """What is wrong with items, or with their neighbors."""
    embedded = "Embed" in plan.method
    ends = (1, 1) if embedded else (0, 1)
    if len(found) != len(plan.paths) + sum(ends):
        return f"{len(found)} answers for {len(plan.paths) + sum(ends)} items"
    if embedded:
        response = outcome.responses[0]
        results = (response.response if plan.method.endswith("Stream") else response).results
        wrong = world.neighbors_fault(results)
        if wrong:
            return wrong
        for result in results:
            numbers = vector(result.embedding)
            if not result.status.code and abs(float(np.linalg.norm(numbers)) - 1) > 1e-3:
                return f"an embedding of length {np.linalg.norm(numbers)}"
    elif found[-1].code:
        return f"the sound neighbor was refused: {found[-1]}"
    for path, status in zip(plan.paths, found[ends[0] :], strict=False):
        if status.code and not status.field.startswith(path):
            return f"{path} was told of {status.field}"
    return ""


def tally(plan: Plan, outcome: Outcome) -> Counter[str]:
    """How the cases of a call ended: answered, or by which reason they were refused."""
    if outcome.code != "OK" or not plan.paths:
        found = statuses(plan, outcome) if plan.method.endswith("Stream") else []
        reason = outcome.reason or (found[0].reason if found else "") or outcome.code
        return Counter({"answered" if reason == "OK" else reason: plan.cases})
    start = 1 if "Embed" in plan.method else 0
    ours = statuses(plan, outcome)[start : start + len(plan.paths)]
    return Counter(status.reason or "answered" for status in ours)
