"""A model is exported again while it is served."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from faults.calls import Calls
from faults.delay_model import facts_of, right_image, right_texts
from faults.flows import Flow, picture, text
from faults.place import Place
from faults.row import Promise, at_least, at_most, only, row
from faults.watch import wait_until

INPUTS = 40
"""Texts and pictures whose right embeddings are known here."""
SWAP_SECONDS = 60.0
"""From an export to the first answer by it: Triton looks every 5 s, and loads both versions."""
COLLECTION = "things"
SEEDS = (0, 1)
"""Of the two sets of weights."""


def digest(embedding: npt.NDArray[np.float32]) -> int:
    """As the load process writes it down."""
    return zlib.crc32(embedding.astype("<f4").tobytes())


def wrong(calls: Calls, right: dict[str, list[int]]) -> int:
    """Answers that are not those of the weights whose fingerprint they name; `right` is by fingerprint."""
    records = calls.ok.records
    return sum(right[it["reason"]][it["number"] % INPUTS] != it["digest"] for it in records)


def mixed(calls: Calls) -> int:
    """Answers that differ from others to the same question under the same fingerprint."""
    seen: dict[tuple[int, str], int] = {}
    records = calls.ok.records
    return sum(
        seen.setdefault((it["number"] % INPUTS, it["reason"]), it["digest"]) != it["digest"] for it in records
    )


@row("model-swap")
def model_swap(place: Place) -> Iterator[Promise]:
    """One name is exported again and again, with two sets of weights by turns, while the SDK embeds,
    classifies and writes points."""
    model = place.model(delay=0.002)
    triton = place.triton(model.repository)
    gateway = place.gateway(triton.address)
    client = place.client(gateway)
    client.create_collection(COLLECTION)
    flows = (
        Flow("texts", "embed_text", callers=4, distinct=INPUTS),
        Flow("pictures", "embed_image", callers=2, distinct=INPUTS),
        Flow("classes", "classify", callers=1, distinct=INPUTS),
        Flow("points", "upsert_text", callers=1, collection=COLLECTION),
    )
    load = place.load(gateway.address, *flows, module="faults.sdk_load")
    slowest, versions = 0.0, 0
    for swap in range(1, place.swaps + 1):
        fingerprint = model.export(SEEDS[swap % 2])

        def served(now: str = fingerprint) -> bool:
            ref = client.embed_texts(["which"]).model
            return ref is not None and ref.fingerprint == now

        slowest = max(slowest, wait_until(served, SWAP_SECONDS))
        folders = [path for path in (model.repository / "delay_text").iterdir() if path.is_dir()]
        versions = max(versions, len(folders))
    calls = load.finish()
    names = [facts_of("delay", seed).fingerprint[:32] for seed in SEEDS]
    texts = [[digest(it) for it in right_texts([text(n) for n in range(INPUTS)], seed)] for seed in SEEDS]
    pictures = [[digest(right_image(picture(n), seed)) for n in range(INPUTS)] for seed in SEEDS]
    stored = list(client.scroll(COLLECTION, with_embeddings=True))
    right = right_texts([text(int(it.id)) for it in stored], SEEDS[0])
    bad = [it.id for it, row in zip(stored, right, strict=True) if not np.array_equal(it.embedding, row)]
    yield at_most(f"{place.swaps} swaps, the slowest", slowest, SWAP_SECONDS)
    of_texts, of_pictures, of_classes = (calls.of(name) for name in ("texts", "pictures", "classes"))
    for seed in SEEDS:
        answered = int((of_texts.ok.records["reason"] == names[seed]).sum())
        yield at_least(f"texts embedded by weights {seed}", answered, 20 * place.swaps)
    yield at_most("of them wrong", wrong(of_texts, dict(zip(names, texts, strict=True))), 0, "")
    yield at_most(
        "pictures embedded wrong", wrong(of_pictures, dict(zip(names, pictures, strict=True))), 0, ""
    )
    yield at_most("classified by two versions at once", mixed(of_classes), 0, "")
    yield only("no call fails after the SDK's retries", calls.of("texts", "pictures", "classes").codes, "OK",
               least=100 * place.swaps)  # fmt: skip
    yield only("points of other weights are refused", calls.of("points").codes, "OK", "FAILED_PRECONDITION")
    yield at_least("points written meanwhile", len(stored), 20 * place.swaps)
    yield at_most("of them with wrong embeddings", len(bad), 0, "")
    yield at_most("versions on the disk", versions, 3, "")
