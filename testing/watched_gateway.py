"""`clipserve-gateway` with a watch over its event loop: `python -m testing.watched_gateway LOG serve …`.

Writes a line of JSON into LOG for each callback that takes LEAST seconds of processor time or more: when it
ended (monotonic clock), seconds, and its name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from clipserve_gateway.cli import main

from testing.callbacks import Callback, watching

LEAST = 0.005

if __name__ == "__main__":
    with Path(sys.argv.pop(1)).open("a", buffering=1) as log:

        def record(callback: Callback) -> None:
            """Writes one down."""
            log.write(json.dumps(callback) + "\n")

        with watching(record, LEAST):
            main()
