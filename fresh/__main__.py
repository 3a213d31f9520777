"""`make fresh`: runs the README's commands as an ordinary user in bare Debian systems and prints a table."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fresh.bare import CannotTry, bare, mirror_of_this_machine
from fresh.images import IMAGES, PACKAGES, build
from fresh.odd import ODD, try_odd
from fresh.steps import COMMANDS, Result, attempt, clone

HEAD = ("Debian", "command", "outcome", "seconds", "MB downloaded", "MB on disk", "missing")


def main() -> None:
    """Exit code 1 if a command failed, 2 if this machine cannot make bare Debian systems."""
    parser = argparse.ArgumentParser(prog="make fresh", description=__doc__)
    parser.add_argument("suites", nargs="*", default=["bookworm", "trixie"])
    parser.add_argument(
        "--commands", nargs="*", default=list(COMMANDS), help="commands instead of the README's"
    )
    parser.add_argument("--odd", nargs="*", choices=[*ODD, "all"], default=[],
                        help="also try the demo under odd conditions, on the first suite")  # fmt: skip
    parser.add_argument("--images", nargs="*", choices=IMAGES, default=[],
                        help="also run the instructions of these Dockerfiles")  # fmt: skip
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "clipserve-fresh",
                        help="folder of the Debian systems, 10 GB each")  # fmt: skip
    options = parser.parse_args()
    results: list[Result] = []
    try:
        mirror = os.environ.get("MIRROR") or mirror_of_this_machine()
        for suite in options.suites:
            log = options.folder / f"{suite}.log"
            options.folder.mkdir(parents=True, exist_ok=True)
            log.unlink(missing_ok=True)
            with bare(suite, options.folder / suite, mirror) as machine:
                if options.commands:
                    checkout = clone(machine)
                for command in options.commands:
                    print(f"· {suite}: {command} (its output: {log})", file=sys.stderr, flush=True)
                    results.append(attempt(machine, checkout, command, log))
                    print(row(results[-1]), flush=True)
                if suite == options.suites[0]:
                    names = list(ODD) if "all" in options.odd else options.odd
                    for name in names:
                        print(f"· {suite}: {name}", file=sys.stderr, flush=True)
                        results.append(try_odd(machine, name, options.folder / f"odd-{name}.log"))
                        print(row(results[-1]), flush=True)
        for name in options.images:
            with bare("bookworm", options.folder / name, mirror, PACKAGES) as machine:
                given = {
                    key: os.environ[key] for key in ("TORCH_INDEX", "PIP_FIND_LINKS") if key in os.environ
                }
                results.append(build(machine, name, options.folder / f"{name}.log", given))
                print(row(results[-1]), flush=True)
    except CannotTry as error:
        print(f"✗ {error}", file=sys.stderr)
        sys.exit(2)
    print(table(results))
    sys.exit(0 if all(result.good for result in results) else 1)


def row(result: Result) -> str:
    outcome = "works" if result.good else f"fails ({result.code})"
    sizes = (f"{result.seconds:.0f}", result.downloaded_mb, result.disk_mb)
    cells = (result.suite, f"`{result.command}`", outcome, *sizes, result.missing or "–")
    return "| " + " | ".join(map(str, cells)) + " |"


def table(results: Sequence[Result]) -> str:
    return "\n".join([f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), *map(row, results)])


if __name__ == "__main__":
    main()
