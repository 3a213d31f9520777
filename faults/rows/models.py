"""Models that answer wrong, or not at all."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator

import numpy as np
from clipserve_gateway.inputs.tokenizer import tokenizer_for
from clipserve_gateway.types import TokenizerSpec

from faults.calls import Calls
from faults.delay_model import CONTEXT, DelayModel, right_texts
from faults.fault_env import FaultEnv
from faults.flows import Flow, text
from faults.row import Promise, at_least, at_most, only, row
from faults.rows.recovery import RECOVERY, recovered
from faults.watch import http_status, metric

TEXTS = 40
"""Texts whose right embeddings are known here."""
CANARY_SECONDS = 1.0
"""How often the gateways of these rows ask for known answers, and look at Triton."""
SOON = 3.0
"""Seconds from a model's first wrong answer to the last that a caller gets."""
OFTEN = ("--canary-seconds", str(CANARY_SECONDS), "--model-poll-seconds", "0.5")


def wrong_answers(calls: Calls) -> Calls:
    """Those that are OK with an embedding that is not the right one for their text."""
    right = [zlib.crc32(row.astype("<f4").tobytes()) for row in right_texts([text(n) for n in range(TEXTS)])]
    ok = calls.ok
    expected = np.array(right)[ok.records["number"] % TEXTS]
    return ok.where(ok.records["digest"] != expected)


@row("wrong-weights")
def wrong_weights(env: FaultEnv) -> Iterator[Promise]:
    """Of two Tritons behind one gateway, one begins to answer with other weights, and later right again."""
    right, wrong = env.model(), env.model()
    tritons = [env.triton(model.repository) for model in (right, wrong)]
    gateway = env.gateway(",".join(triton.address for triton in tritons), *OFTEN)
    load = env.load(gateway.address, Flow("calls", "embed_text", rate=50, distinct=TEXTS))
    time.sleep(4)
    before = [triton.executions("delay_text") for triton in tritons]
    broken = time.monotonic()
    wrong.turn(mode="wrong")
    time.sleep(SOON + 3)
    gauges = [metric(gateway.http, "clipserve_canary_ok", replica=it.address) for it in tritons]
    told = f"replica {tritons[1].address}: model delay is out of service" in gateway.log.read_text()
    wrong.turn(mode="ok")
    time.sleep(RECOVERY)
    again = tritons[1].executions("delay_text")
    time.sleep(2)
    served = tritons[1].executions("delay_text") - again
    calls = load.finish()
    bad = wrong_answers(calls)
    last = float(bad.records["end"].max() - broken) if len(bad) else 0.0
    yield at_least("before, both answer; executions of the lesser", min(before), 30)
    yield at_least("the fault was real: wrong answers at first", len(bad), 1)
    yield at_most("the last wrong answer comes within", last, SOON)
    yield only("no call fails", calls.codes, "OK")
    yield Promise("clipserve_canary_ok tells which", f"{gauges[0]:g} and {gauges[1]:g}", gauges == [1, 0])
    yield Promise("so does the log", "yes" if told else "no", told)
    yield at_least("put right, it serves again within 5 s; executions in 2 s", served, 20)


@row("wrong-weights-only")
def wrong_weights_only(env: FaultEnv) -> Iterator[Promise]:
    """The only Triton begins to answer with other weights, and later right again."""
    model = env.model()
    triton = env.triton(model.repository)
    gateway = env.gateway(triton.address, *OFTEN)
    load = env.load(gateway.address, Flow("calls", "embed_text", rate=50, distinct=TEXTS))
    time.sleep(1)
    broken = time.monotonic()
    model.turn(mode="wrong")
    time.sleep(SOON + 1)
    told, ready = metric(gateway.http, "clipserve_model_ready"), http_status(f"{gateway.http}/readyz")
    back = time.monotonic()
    model.turn(mode="ok")
    time.sleep(2.5)
    calls = load.finish()
    bad = wrong_answers(calls)
    last = float(bad.records["end"].max() - broken) if len(bad) else 0.0
    yield at_most("the last wrong answer comes within", last, SOON)
    later = calls.begun(broken + SOON, back)
    yield only("then callers get UNAVAILABLE", later.codes, "UNAVAILABLE", least=20)
    yield Promise("clipserve_model_ready says so", f"{told:g}", told == 0)
    yield Promise("the gateway stays ready: /readyz", f"{ready}", ready == 200)
    yield at_most("all calls are OK again within", calls.last_failure_after(back), 2.0)


@row("bad-model")
def bad_model(env: FaultEnv) -> Iterator[Promise]:
    """Of two models in one Triton, one begins to fail every execution; its calls and the other's go on."""
    good = env.model("good")
    bad = DelayModel(good.repository.parent, "bad")
    triton = env.triton(good.repository)
    gateway = env.gateway(triton.address, *OFTEN)
    flows = [Flow(name, "embed_text", rate=30, model=name) for name in ("good", "bad")]
    load = env.load(gateway.address, *flows)
    time.sleep(2)
    broken = time.monotonic()
    bad.turn(mode="error")
    time.sleep(6)
    back = time.monotonic()
    ready = {name: metric(gateway.http, "clipserve_model_ready", model=name) for name in ("good", "bad")}
    status = http_status(f"{gateway.http}/readyz")
    bad.turn(mode="ok")
    time.sleep(RECOVERY + 2)
    calls = load.finish()
    during = calls.of("bad").begun(broken + SOON, back)
    yield only("the other model serves all the while", calls.of("good").codes, "OK", least=200)
    yield at_most("and as fast: p99", calls.of("good").begun(broken, back).quantile(0.99), 0.25)
    yield only("the bad one fails at once as INTERNAL", calls.of("bad").begun(broken, back).failed.codes,
               "INTERNAL", "UNAVAILABLE", least=50)  # fmt: skip
    yield only("and soon as UNAVAILABLE", during.codes, "UNAVAILABLE", least=30)
    yield Promise("clipserve_model_ready tells which", f"{ready}", ready == {"good": 1, "bad": 0})
    yield Promise("the gateway stays ready", f"{status}", status == 200)
    yield from recovered(calls.of("bad"), back)


@row("bad-answers", quick=True)
def bad_answers(env: FaultEnv) -> Iterator[Promise]:
    """A model answers NaN, then embeddings of half their length, then errors; then NaN for one item alone."""
    model, _, gateway = env.service()
    load = env.load(gateway.address, Flow("calls", "embed_text", rate=50, distinct=TEXTS))
    time.sleep(0.5)
    moments = []
    for mode in ("nan", "shape", "error"):
        model.turn(mode=mode)
        time.sleep(0.2)
        begin = time.monotonic()
        time.sleep(0.5)
        moments.append((mode, begin, time.monotonic()))
        model.turn(mode="ok")
        time.sleep(0.5)
    poison = int(tokenizer_for(TokenizerSpec(CONTEXT)).encode(["poison"])[0].ids[1])
    model.turn(poison=poison)
    time.sleep(0.2)
    batch = env.client(gateway).embed_texts([text(0), "poison", text(1)], on_error="return")
    calls = load.finish()
    wrong = wrong_answers(calls)
    for mode, begin, end in moments:
        codes = calls.begun(begin).ended(before=end).codes
        yield only(f"{mode}: callers get INTERNAL", codes, "INTERNAL", least=10)
    yield Promise("no caller gets a wrong answer", f"{len(wrong)}", len(wrong) == 0)
    right = batch.embeddings[[0, 2]].tobytes() == right_texts([text(0), text(1)]).tobytes()
    yield Promise("one bad item fails alone", f"items {sorted(batch.errors)} of 3 failed, the others are "
                  f"{'right' if right else 'wrong'}", sorted(batch.errors) == [1] and right)  # fmt: skip
