"""What the largest requests take of the gateway's event loop, callback by callback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from bench.fuzz.report import console
from testing.callbacks import Callback
from testing.http_bridge import HttpBridge
from testing.largest import Answered, answers
from testing.service import start, start_gateway

LONGEST = 0.1
"""Seconds of the loop's processor time that one callback may take."""


def measure_loop(folder: Path, *, over_http: bool) -> bool:
    """Whether no callback took longer, and each call ended as it should."""
    folder.mkdir()
    log = folder / "callbacks.jsonl"
    log.touch()
    service = start(folder)
    try:
        program = (sys.executable, "-m", "testing.watched_gateway", log)
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        gateway = start_gateway(
            *(service.triton, str(folder / "own"), folder, "--api-port", "0"), env=path, program=program
        )
        try:
            called = call_over_http(gateway.api) if over_http else asyncio.run(answers(gateway.address))
        finally:
            gateway.process.send_signal(signal.SIGTERM)
            gateway.process.wait(60)
    finally:
        service.stop()
    callbacks = [Callback(*json.loads(line)) for line in log.read_text().splitlines()]
    kept = bool(callbacks)
    for call in called:
        seconds, _, what = max(
            ((it.seconds, it.at, it.what) for it in callbacks if call.begin <= it.at <= call.end),
            default=(0.0, 0.0, ""),
        )
        # Over HTTP, an answer may be too large for JSON.
        fine = seconds <= LONGEST and (call.expected or (over_http and call.code == "INVALID_ARGUMENT"))
        kept &= fine
        console.print(
            f"{'pass' if fine else 'FAIL'}  {call.method}: {call.code}, longest callback "
            f"{seconds * 1000:.0f} ms {what}",
            markup=False,
            highlight=False,
        )
    return kept


def call_over_http(url: str) -> list[Answered]:
    """The same calls as JSON."""
    bridge = HttpBridge(url)
    try:
        return asyncio.run(answers(bridge.address))
    finally:
        bridge.stop()
