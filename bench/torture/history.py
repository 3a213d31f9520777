"""The log of a tortured store as histories of its points, for the checker of linearizability."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.torture.ledger import GROUPS
from faults.linear import Op, State


def histories(log: Path) -> dict[str, list[Op]]:
    """The operations on each point; lines count as time, and what a reader found after a kill as reads."""
    found: dict[str, list[Op]] = defaultdict(list)
    pending: dict[str, tuple[int, dict[str, Any]]] = {}
    for now, line in enumerate(map(json.loads, log.read_bytes().split(b"\n")[:-1])):
        if "settled" in line:
            for begin, operation in pending.values():
                add(found, operation, begin, math.inf)
            pending.clear()
            for id, serial in line["settled"].items():
                # The first of all tells what was there at the beginning.
                found[id].append(Op(now, now + 0.5, serial, read=bool(found[id])))
        elif "ack" in line:
            begin, operation = pending.pop(line["ack"])
            add(found, operation, begin, now)
        else:
            pending[line["worker"]] = (now, line)
    return dict(found)


def add(found: dict[str, list[Op]], operation: dict[str, Any], begin: float, end: float) -> None:
    """Notes an operation with each point that it may change."""
    kind, serial = operation["kind"], operation["serial"]
    if kind == "delete where":
        group = operation["group"]

        def change(state: State) -> State:
            return None if isinstance(state, int) and state % GROUPS == group else state

        for id in [id for id in found if id.split("-")[0] == operation["worker"]]:
            found[id].append(Op(begin, end, change=change))
    elif kind != "document":
        for id in operation["ids"]:
            if kind == "insert":
                found[id].append(
                    Op(begin, end, serial, change=lambda state: serial if state is None else state)
                )
            else:
                found[id].append(Op(begin, end, None if kind == "delete" else serial))
