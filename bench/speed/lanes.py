"""A lone interactive caller beside a bulk job: how much longer it waits, and what the job still gets."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.speed import messages
from bench.speed.photos import photographs
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Load, clipserve_of, export
from bench.speed.turns import Turn, by_turns, ratio, turn_of, written

PHOTOS = 512
BULK_PHOTOS = 32
"""Of one call of the bulk job."""
BULK_CALLERS = 4
"""Calls of the bulk job under way, as the SDK has them."""
WARM_SECONDS = 2.0
"""The bulk job is under way for so long before the caller comes."""
ALONE, BESIDE = "alone", "beside a bulk job"
BOUND = 3.0


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """One caller of pictures, and one of texts, by turns alone and beside a bulk job of pictures."""
    repository, photos = export(model, by_trial=True), photographs(PHOTOS)
    bulk_load, bulk_rates = Load(folder), dict[str, list[float]]()
    with clipserve_of(model, repository, folder / f"{model.lower()}-lanes") as service:
        address = service.service.address
        bulk_file = bulk_load.requests("bulk", messages.embed_images(photos, BULK_PHOTOS))
        files = {
            "pictures": load.requests("lone pictures", messages.embed_images(photos)),
            "texts": load.requests("lone texts", messages.embed_texts([f"photo {n}" for n in range(4096)])),
        }

        def bulk(seconds: float) -> float:
            done = bulk_load.send(
                address, messages.EMBED, bulk_file, seconds, callers=BULK_CALLERS, priority="bulk"
            )
            return turn_of(done, seconds, BULK_PHOTOS).rate

        def alone(kind: str) -> Turn:
            return load.turn(address, messages.EMBED, files[kind], scale.seconds, callers=1)

        def beside(kind: str) -> Turn:
            with ThreadPoolExecutor(1) as thread:
                job = thread.submit(bulk, WARM_SECONDS + scale.seconds)
                time.sleep(WARM_SECONDS)
                turn = alone(kind)
                bulk_rates.setdefault(kind, []).append(job.result())
            return turn

        systems: dict[str, Callable[[], Turn]] = {}
        for kind in files:
            systems[f"{kind} {ALONE}"] = functools.partial(alone, kind)
            systems[f"{kind} {BESIDE}"] = functools.partial(beside, kind)
        try:
            turns = by_turns(systems, scale.more_rounds)
            bulk_alone = [bulk(scale.seconds + WARM_SECONDS) for _ in range(scale.rounds)]
        finally:
            bulk_load.lines.stop()
    facts = {
        "model": model,
        "turns": written(turns),
        "bulk": {"alone": bulk_alone, **{f"beside {kind}": rates for kind, rates in bulk_rates.items()}},
    }
    return facts, [
        Bar(
            f"{model}: p95 of a lone caller's {kind} beside a bulk job, of that alone",
            ratio(turns[f"{kind} {BESIDE}"], turns[f"{kind} {ALONE}"], "p95"), BOUND, most=True,
        )
        for kind in files
    ]  # fmt: skip
