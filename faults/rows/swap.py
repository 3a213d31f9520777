"""A model is exported again while it is served."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator

import clipserve
import numpy as np
import numpy.typing as npt

from faults.calls import Calls
from faults.delay_model import facts_of, right_image, right_texts
from faults.fault_env import FaultEnv
from faults.flows import Flow, picture, text
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


def fingerprints() -> list[str]:
    """Of both sets of weights, as the load process writes them down."""
    return [facts_of("delay", seed).fingerprint[:32] for seed in SEEDS]


def right_digests() -> list[list[int]]:
    """Of each text, by both sets of weights."""
    texts = [text(n) for n in range(INPUTS)]
    return [[digest(row) for row in right_texts(texts, seed)] for seed in SEEDS]


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


def swapped(client: clipserve.Client, fingerprint: str) -> float:
    """Seconds until calls are answered by the weights of a fingerprint."""

    def answered() -> bool:
        with contextlib.suppress(clipserve.ModelUnavailable):
            ref = client.embed_texts(["which"]).model
            return ref is not None and ref.fingerprint == fingerprint
        return False

    return wait_until(answered, SWAP_SECONDS)


@row("model-swap")
def model_swap(env: FaultEnv) -> Iterator[Promise]:
    """One name, at first an export that names no version, is exported again and again, with two sets of
    weights by turns, while the SDK embeds, classifies and writes points."""
    model = env.model(delay=0.002)
    model.as_first_form()
    triton = env.triton(model.repository)
    gateway = env.gateway(triton.address)
    client = env.client(gateway)
    client.create_collection(COLLECTION)
    flows = (
        Flow("texts", "embed_text", callers=4, distinct=INPUTS),
        Flow("pictures", "embed_image", callers=2, distinct=INPUTS),
        Flow("classes", "classify", callers=1, distinct=INPUTS),
        Flow("points", "upsert_text", callers=1, collection=COLLECTION),
    )
    load = env.load(gateway.address, *flows, module="faults.sdk_load")
    slowest, versions = 0.0, 0
    for swap in range(1, env.swaps + 1):
        slowest = max(slowest, swapped(client, model.export(SEEDS[swap % 2])))
        folders = [path for path in (model.repository / "delay_text").iterdir() if path.is_dir()]
        versions = max(versions, len(folders))
    calls = load.finish()
    names, texts = fingerprints(), right_digests()
    pictures = [[digest(right_image(picture(n), seed)) for n in range(INPUTS)] for seed in SEEDS]
    stored = list(client.scroll(COLLECTION, with_embeddings=True))
    right = right_texts([text(int(it.id)) for it in stored], SEEDS[0])
    bad = [it.id for it, row in zip(stored, right, strict=True) if not np.array_equal(it.embedding, row)]
    yield at_most(f"{env.swaps} swaps, the slowest", slowest, SWAP_SECONDS)
    of_texts, of_pictures, of_classes = (calls.of(name) for name in ("texts", "pictures", "classes"))
    for seed in SEEDS:
        answered = int((of_texts.ok.records["reason"] == names[seed]).sum())
        yield at_least(f"texts embedded by weights {seed}", answered, 20 * env.swaps)
    yield at_most("of them wrong", wrong(of_texts, dict(zip(names, texts, strict=True))), 0, "")
    yield at_most(
        "pictures embedded wrong", wrong(of_pictures, dict(zip(names, pictures, strict=True))), 0, ""
    )
    yield at_most("classified by two versions at once", mixed(of_classes), 0, "")
    yield only("no call fails after the SDK's retries", calls.of("texts", "pictures", "classes").codes, "OK",
               least=100 * env.swaps)  # fmt: skip
    yield only("points of other weights are refused", calls.of("points").codes, "OK", "FAILED_PRECONDITION")
    yield at_least("points written meanwhile", len(stored), 20 * env.swaps)
    yield at_most("of them with wrong embeddings", len(bad), 0, "")
    yield at_most("versions on the disk", versions, 3, "")


@row("model-swap-inputs")
def model_swap_inputs(env: FaultEnv) -> Iterator[Promise]:
    """A name is exported with a text tower of other inputs, which no Triton can hold beside the old one, and
    back, while the SDK embeds."""
    model = env.model(delay=0.002)
    triton = env.triton(model.repository)
    gateway = env.gateway(triton.address)
    client = env.client(gateway)
    load = env.load(gateway.address, Flow("texts", "embed_text", callers=4, distinct=INPUTS),
                      module="faults.sdk_load")  # fmt: skip
    slowest = max(
        swapped(client, model.export(seed, text_length=length))
        for seed, length in ((1, "fixed"), (0, "ragged"))
    )
    calls = load.finish()
    right = dict(zip(fingerprints(), right_digests(), strict=True))
    yield at_most("two swaps, the slower", slowest, SWAP_SECONDS)
    yield at_most("texts embedded wrong", wrong(calls, right), 0, "")
    yield only("calls are OK, or UNAVAILABLE between the towers", calls.codes, "OK", "UNAVAILABLE", least=100)
