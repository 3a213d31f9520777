"""Runs a group of rows: one export at a time, then one Triton and one gateway for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import clipserve
import numpy as np

from testing.service import Service, start
from zoo import comparing, exporting, results, samples
from zoo.export_row import Task, served_name
from zoo.rows import BY_NAME

EXACT = {"CLIPSERVE_FAST_DECODE": "false"}
"""Settings of the gateway under which its pixels are open_clip's."""


@dataclass(frozen=True)
class Plan:
    """How rows are run.

    Attributes:
        precisions: fp32 first; `ROW-PRECISION` is the name of the others.
        memory_bytes: limit of one export.
        export_seconds: limit of one export.
        speed_seconds: time of each measurement of speed.
    """

    folder: Path
    precisions: Sequence[str]
    memory_bytes: int
    export_seconds: float
    speed_seconds: float


def run_group(names: Sequence[str], plan: Plan, on_step: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Exports, serves and compares some rows; what becomes of each. A row that fails does not stop others."""
    folder = plan.folder / names[0]
    repository = folder / "models"
    task = Task(list(names), str(folder), str(repository), list(plan.precisions), plan.memory_bytes)
    exported = exporting.export(task, plan.export_seconds, on_step)
    good = [name for name in names if "facts" in exported[name]]
    outcomes: dict[str, dict[str, Any]] = {}
    if good:
        on_step(f"{', '.join(good)}: Triton loads them")
        try:
            service = start(folder, "--default-model", good[0], repository=repository, env=EXACT)
        except AssertionError as error:
            outcomes = {name: {"error": f"serving: {str(error)[-300:]}"} for name in good}
        else:
            try:
                outcomes = {
                    name: compared(name, service, folder, without(plan, exported[name]), on_step)
                    for name in good
                }
            finally:
                service.stop()
    for name in good:
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.rmtree(repository, ignore_errors=True)
    return {name: whole(name, exported[name], outcomes.get(name, {})) for name in names}


def without(plan: Plan, exported: dict[str, Any]) -> Plan:
    """The plan without the precisions in which the exporter refused a row."""
    refused = exported["facts"]["refused"]
    return replace(plan, precisions=[one for one in plan.precisions if one not in refused])


def whole(name: str, exported: dict[str, Any], served: dict[str, Any]) -> dict[str, Any]:
    """A row's result: what it is, what was measured, and whether it passed."""
    row = BY_NAME[name]
    error = exported.get("error") or served.get("error") or ""
    known = {"architecture": row.architecture, "tag": row.tag, "shrunk": row.shrunk}
    measured = {**exported.get("facts", {}), **{key: served[key] for key in served if key != "error"}}
    problems = [error] if error else faults(measured)
    return {
        **known,
        **measured,
        "machine": results.machine(),
        "passed": not problems,
        "problems": problems,
    }


def faults(measured: dict[str, Any]) -> list[str]:
    """What is wrong with what was measured."""
    unequal = [
        f"{what}: {total - same} of {total} differ from open_clip's"
        for what in ("pixels", "ids")
        for same, total in [measured[what]]
        if same != total
    ]
    far = [
        f"{precision}: {key} {seen[key]:.6f} is below {comparing.BOUNDS[precision]}"
        for precision, seen in measured["precisions"].items()
        for key in ("image_cosine", "text_cosine")
        if not seen[key] >= comparing.BOUNDS[precision]
    ]
    alike = [
        f"{key} {measured[key]:.6f}: different inputs are too alike to show a fault"
        for key in ("image_likeness", "text_likeness")
        if not measured[key] <= comparing.MOST_ALIKE
    ]
    return unequal + far + alike


def compared(
    name: str, service: Service, folder: Path, plan: Plan, on_step: Callable[[str], None]
) -> dict[str, Any]:
    """Compares one row with open_clip, or tells the error."""
    on_step(f"{name}: compare")
    try:
        with clipserve.Client(service.address) as client:
            return measured(name, client, service, folder, plan)
    except Exception as error:
        return {"error": f"comparison: {type(error).__name__}: {error}"[:300]}


def measured(
    name: str, client: clipserve.Client, service: Service, folder: Path, plan: Plan
) -> dict[str, Any]:
    """What is measured of a row."""
    pictures, texts = list(samples.pictures().values()), samples.texts()
    precisions = {}
    with np.load(folder / name / "reference.npz") as expected:
        known = comparing.known_of(service.triton, name)
        pixels = comparing.same_pixels(known.spec, pictures, expected["pixels"])
        ids = comparing.same_ids(known.spec, service.triton, texts, expected["ids"])
        likeness = {
            "image_likeness": round(comparing.likeness(expected["images"]), 6),
            "text_likeness": round(comparing.likeness(expected["texts"]), 6),
        }
        busy = not BY_NAME[name].shrunk and comparing.others_are_busy()
        for precision in plan.precisions:
            model = served_name(name, precision)
            seen = comparing.cosines(client, model, pictures, texts, expected)
            if not BY_NAME[name].shrunk:
                seen |= comparing.speeds(client, model, plan.speed_seconds)
            size = comparing.size_on_disk(folder / "models", model)
            precisions[precision] = {key: round(value, 7) for key, value in seen.items()} | {"bytes": size}
    return {
        "pixels": [pixels, len(pictures)],
        "ids": [ids, len(texts)],
        **likeness,
        "busy": busy,
        "text_length": known.text_length,
        "precisions": precisions,
    }
