"""Kills a process that writes to LanceDB, again and again, and looks whether what it acknowledged is there.

A child upserts (single points, batches, overwrites, inserts that must not overwrite), deletes by id and by
filter, and changes documents, while indexes are built and files are merged and cleaned up all the time.
Before each operation it appends an intent to an fsynced log, after it an acknowledgement. It is killed with
SIGKILL at a random moment; another process opens the store and compares every byte:

\b
- each point and document is as its last acknowledged operation left it, or as the one under way would have;
- no id is there twice, counts agree, and points are found by searching for them.

Then the disk is harmed, on copies of the store, in ways that a crash of a machine could leave behind. Each
copy must open with every acknowledged point, or with the state before the last commit, or give an error;
never with anything else.

This tests crashes of the process. Whether the disk keeps what it was told to keep is not tested.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from bench.torture.history import histories
from bench.torture.ledger import Ledger, check
from bench.torture.torn import torn_disk
from bench.torture.writer import torment
from faults.linear import unexplained


@click.group(invoke_without_command=True, help=__doc__)
@click.option("--points", default=50, show_default=True, help="How often the writer is killed.")
@click.option("--seed", default=0, show_default=True, help="Of operations and moments; 0 takes a new one.")
@click.option("--seconds", default=2.0, show_default=True, help="The longest time before a kill.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to work and leave the store; empty.")
@click.pass_context
def main(context: click.Context, points: int, seed: int, seconds: float, folder: Path | None) -> None:
    """See the module's docstring."""
    if context.invoked_subcommand is None:
        seed = seed or random.SystemRandom().randrange(1, 2**31)
        with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
            sys.exit(0 if torture(folder or Path(scratch), points, seed, seconds) else 1)


@main.command("writer", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("seed", type=int)
def writer(folder: Path, seed: int) -> None:
    """The child that is killed."""
    asyncio.run(torment(folder, seed))


@main.command("reader", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
def reader(folder: Path) -> None:
    """Compares the store with the log; prints what is wrong and notes what became of operations under way."""
    print(json.dumps(asyncio.run(check(folder))))


def torture(folder: Path, points: int, seed: int, seconds: float) -> bool:
    """Whether all promises were kept."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    began, lost, applied, under_way = time.monotonic(), 0, 0, 0
    for kill in range(points):
        run_and_kill(folder, seed + kill, chance.uniform(0.05, seconds))
        found = json.loads(own("reader", folder).stdout)
        lost += len(found["wrong"])
        applied += found["applied"]
        under_way += found["under_way"]
        for problem in found["wrong"][:5]:
            print(f"  kill {kill + 1}: {problem}")
    ledger = Ledger(folder / "log")
    known = histories(folder / "log")
    bad = unexplained(known)
    torn = asyncio.run(torn_disk(folder))
    print(f"seed {seed}, {points} kills in {time.monotonic() - began:.0f} s")
    print(f"operations {ledger.intents}, acknowledged {ledger.acknowledgements}", end=", ")
    print(f"under way when killed {under_way} (of these {applied} took effect)")
    print(
        f"points at the end {len(ledger.points)}, in {', '.join(f'{n} {k}' for k, n in ledger.kinds.items())}"
    )
    promises = [
        ("acknowledged operations are there after a process crash", f"{lost} lost or changed", lost == 0),
        ("every point's history is linearizable", f"{len(bad)} of {len(known)} are not", not bad),
        *torn,
    ]
    for promise, seen, kept in promises:
        print(f"{'pass' if kept else 'FAIL'}  {promise}: {seen}")
    return all(kept for _, _, kept in promises)


def run_and_kill(folder: Path, seed: int, seconds: float) -> None:
    """Starts the writer, waits for its first acknowledgement and kills it so much later."""
    child = subprocess.Popen(own_command("writer", folder, seed), stdout=subprocess.PIPE, env=environment())
    assert child.stdout is not None
    if not child.stdout.readline():
        raise SystemExit(f"the writer ended by itself with status {child.wait()}")
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    if child.returncode != -signal.SIGKILL:
        raise SystemExit(f"the writer ended by itself with status {child.returncode}")


def own(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a command of this program to its end."""
    command = own_command(*arguments)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment())


def own_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bench.torture", *map(str, arguments)]


def environment() -> dict[str, str]:
    """This process's modules, and a quiet library: it warns of each merge that gives way to a write."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "LANCE_LOG": "error"}


if __name__ == "__main__":
    main()
