"""Sends harmed images, texts, vectors, payloads, filters, requests and bytes to a gateway, many thousands.

\b
python -m bench.fuzz --cases 100000
python -m bench.fuzz --cases 1000 --kind images --seed 7 --target 127.0.0.1:8600 --pid 4711
python -m bench.fuzz replay build/fuzz/7-123 --target 127.0.0.1:8600
python -m bench.fuzz bombs --callers 64
python -m bench.fuzz loop
python -m bench.fuzz scoped --pairs 10000
python -m bench.fuzz http --cases 20000

Without a target it starts Triton and a gateway of its own. Cases are made of seed and number, from the named
cases of testing/hostile: bits flipped, parts of files doubled, lengths and numbers changed, files
spliced, fields of messages set to what they should not be, and blindly. Many go as items of one call, with
sound neighbors. Health and reflection, which need no token, get requests that are long, malformed, compressed
or not UTF-8.

\b
Of every call it is asked that
- it ends within 30 s, with a status that is promised: never INTERNAL, UNKNOWN or UNAVAILABLE;
- what is refused has a reason, and a field where the input is at fault;
- sound neighbors in the same call get the embeddings they had when they were alone, to 1e-4;
and of the gateway that at the end it is the same process, SERVING, with its points unchanged, without a
traceback or control character in its log, and that its memory stayed below what its settings say.

Collections, aliases and label sets that harmed requests make are left behind: do not send them to a gateway
whose collections matter. Calls that break a promise are kept in a folder, and can be sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import tempfile
from pathlib import Path

import click

from bench.fuzz.bombs import measure_bombs
from bench.fuzz.calls import KINDS
from bench.fuzz.http import measure_http
from bench.fuzz.loop import measure_loop
from bench.fuzz.report import Report, show
from bench.fuzz.run import again, fuzz
from bench.fuzz.scoped import fuzz_scoped, prepare, token_lines
from bench.fuzz.target import Target, own


@click.group(invoke_without_command=True, help=__doc__)
@click.option("--cases", default=100_000, show_default=True, help="How many.")
@click.option("--seed", default=0, show_default=True, help="Of chance; 0 takes a new one.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only these kinds.")
@click.option("--callers", default=12, show_default=True, help="Calls under way at a time.")
@click.option("--target", default="", help="HOST:PORT of a running gateway, instead of one of its own.")
@click.option(
    "--pid", default=0, help="That gateway's process, if it runs on this machine: to look at its memory."
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    default=Path("build/fuzz"),
    show_default=True,
    help="Where findings go.",
)
@click.pass_context
def main(
    context: click.Context,
    cases: int,
    seed: int,
    kinds: tuple[str, ...],
    callers: int,
    target: str,
    pid: int,
    keep: Path,
) -> None:
    """See the module's docstring."""
    if context.invoked_subcommand is not None:
        return
    seed = seed or random.SystemRandom().randrange(1, 2**31)
    with at(target, pid) as gateway:
        report: Report = asyncio.run(fuzz(gateway, cases, seed, kinds or tuple(KINDS), callers, keep))
    show(report)
    sys.exit(0 if report.kept_all else 1)


@main.command("replay")
@click.argument("finding", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--target", default="", help="HOST:PORT of a running gateway, instead of one of its own.")
def replay(finding: Path, target: str) -> None:
    """Sends a call again that was kept in a folder."""
    with at(target, 0) as gateway:
        wrong = asyncio.run(again(gateway, finding))
    click.echo(wrong or "every promise was kept")
    sys.exit(1 if wrong else 0)


@main.command("bombs")
@click.option("--callers", default=64, show_default=True, help="Who send an image each, at once.")
@click.option("--pixels", default=64_000_000, show_default=True, help="Of each image.")
@click.option("--target", default="", help="HOST:PORT of a running gateway, instead of one of its own.")
@click.option("--pid", default=0, help="That gateway's process.")
def bombs(callers: int, pixels: int, target: str, pid: int) -> None:
    """Sends many images at once that are dear to decode, and reads the gateway's memory (some minutes)."""
    with at(target, pid) as gateway:
        kept = asyncio.run(measure_bombs(gateway, callers, pixels))
    sys.exit(0 if kept else 1)


@main.command("scoped")
@click.option("--pairs", default=5_000, show_default=True, help="How many requests, each sent twice.")
@click.option("--seed", default=0, show_default=True, help="Of chance; 0 takes a new one.")
@click.option("--callers", default=12, show_default=True, help="Calls under way at a time.")
def scoped(pairs: int, seed: int, callers: int) -> None:
    """Asks with a token for a few names about other names: no answer may tell whether those exist."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = seed or random.SystemRandom().randrange(1, 2**31)
    lines, tokens = token_lines()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        file = Path(folder) / "tokens"
        file.write_text("\n".join(lines) + "\n")
        click.echo("· starting Triton and a gateway that asks for tokens", err=True)
        with own(Path(folder), "--token-file", str(file)) as gateway:
            dim = prepare(gateway.address, tokens["ops"])
            report = asyncio.run(fuzz_scoped(gateway.address, tokens["shop"], dim, pairs, seed, callers))
            report.findings += [f"in the log: {line[:400]}" for line in gateway.errors()[:5]]
    click.echo(f"seed {seed}: {report.probes:,} pairs: {dict(report.outcomes.most_common())}")
    for finding in report.findings:
        click.echo(f"FAIL  {finding}")
    click.echo("" if report.findings else "pass  no answer told of a name that the token may not see")
    sys.exit(1 if report.findings else 0)


@main.command("http")
@click.option("--cases", default=20_000, show_default=True, help="How many requests.")
@click.option("--seed", default=0, show_default=True, help="Of chance; 0 takes a new one.")
@click.option("--callers", default=12, show_default=True, help="Requests under way at a time.")
def http(cases: int, seed: int, callers: int) -> None:
    """Sends harmed JSON, gzip, headers and paths to the HTTP API."""
    seed = seed or random.SystemRandom().randrange(1, 2**31)
    with at("", 0) as gateway:
        report = asyncio.run(measure_http(gateway, cases, seed, callers))
    click.echo(f"seed {seed}: {report.sent:,} requests, the slowest took {report.slowest:.1f} s")
    click.echo(", ".join(f"{number:,} × {status}" for status, number in report.statuses.most_common()))
    for finding in report.findings:
        click.echo(f"FAIL  {finding}")
    click.echo("" if report.findings else "pass  every promise was kept")
    sys.exit(1 if report.findings else 0)


@main.command("loop")
def loop() -> None:
    """Sends the largest request of each RPC, and times the event loop's callbacks (some minutes)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kept = True
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for way in ("gRPC", "HTTP"):
            click.echo(f"· starting a gateway whose event loop is watched; calls over {way}", err=True)
            kept &= measure_loop(Path(folder) / way, over_http=way == "HTTP")
    sys.exit(0 if kept else 1)


@contextlib.contextmanager
def at(target: str, pid: int):
    """The gateway to send to."""
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if target:
        yield Target(target, pid)
        return
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        click.echo("· starting Triton and a gateway", err=True)
        with own(Path(folder)) as gateway:
            yield gateway


if __name__ == "__main__":
    main()
