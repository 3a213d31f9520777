"""As faults.load, but by the SDK's own client, in threads, with its retries: what an application sees.

Flows are closed: each caller makes a call, rests, and makes the next one.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clipserve
import numpy as np

from faults.calls import RECORD, Calls
from faults.flows import Flow, embedding, picture, text

REST = 0.02
Record = tuple[int, int, float, float, float, str, str, int]


def one_point(flow: Flow, number: int) -> clipserve.Point:
    """The point of a call; its id tells the call."""
    return clipserve.Point(f"{flow.name}-{number}", embedding=np.frombuffer(embedding(number), "<f4"))


def text_point(flow: Flow, number: int) -> clipserve.Point:
    """The point of a call, which the server embeds; its id is the text's number."""
    return clipserve.Point(str(number), text=text(number))


def seen(answer: Any) -> tuple[str, int]:
    """The first 32 digits of the fingerprint that an answer names, and a digest of its first item."""
    if isinstance(answer, clipserve.EmbedResult) and answer.model is not None:
        return answer.model.fingerprint[:32], zlib.crc32(answer.embeddings[0].astype("<f4").tobytes())
    if isinstance(answer, clipserve.ClassifyResult) and answer.model is not None:
        cosines = [f"{score.label} {score.cosine:.5f}" for score in answer[0].scores]
        return answer.model.fingerprint[:32], zlib.crc32(" ".join(cosines).encode())
    return "", 0


CALLS: dict[str, Callable[[clipserve.Client, Flow, int], Any]] = {
    "embed_text": lambda client, flow, n: client.embed_texts([text(n)]),
    "embed_image": lambda client, flow, n: client.embed_images([picture(n)]),
    "upsert_text": lambda client, flow, n: client.upsert(flow.collection, [text_point(flow, n)]),
    "classify": lambda client, flow, n: client.classify([picture(n)], ["cat", "dog"]),
    "search": lambda client, flow, n: client.search(flow.collection, text=text(n)),
    "upsert": lambda client, flow, n: client.upsert(flow.collection, [one_point(flow, n)]),
    "stream": lambda client, flow, n: list(
        client.embed_stream([[text(n * 8 + m) for m in range(8)] for _ in range(4)], kind="texts")
    ),
}


def call_on(index: int, flow: Flow, client: clipserve.Client, numbers: Any, stop: Any, records: Any) -> None:
    """One caller, until it is told to stop."""
    while not stop.is_set():
        number = next(numbers)
        begin, code, reason, digest = time.monotonic(), "OK", "", 0
        try:
            reason, digest = seen(CALLS[flow.kind](client, flow, flow.input(number)))
        except clipserve.ClipserveError as error:
            code, reason = error.code or type(error).__name__, error.reason
            print(repr(error), flush=True)
        records.append((index, number, begin, begin, time.monotonic(), code, reason, digest))
        stop.wait(REST)


def main() -> None:
    """See faults.load."""
    order = json.loads(sys.stdin.readline())
    flows = [Flow(**flow) for flow in order["flows"]]
    records: list[Record] = []
    stop, callers = threading.Event(), []
    with clipserve.Client(order["target"]) as client:
        for index, flow in enumerate(flows):
            facts = (index, flow, client, itertools.count(), stop, records)
            callers += [threading.Thread(target=call_on, args=facts) for _ in range(flow.callers)]
        for caller in callers:
            caller.start()
        print("begun", flush=True)
        sys.stdin.read()
        stop.set()
        for caller in callers:
            caller.join()
    names = tuple(flow.name for flow in flows)
    Calls(names, np.array(records, dtype=RECORD)).write(Path(order["out"]))


if __name__ == "__main__":
    main()
