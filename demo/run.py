"""Runs all of clipserve on this machine: Triton, gateway and commands as a user would type them.

`make demo` runs it on the pictures in this folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUT = ROOT / "build" / "demo"
BIN = Path(sys.executable).parent
START_SECONDS = 240.0
QUERIES = ("a red car", "a musical instrument", "fruit")


@contextlib.contextmanager
def service() -> Iterator[str]:
    """Starts Triton and the gateway on free ports; yields the gateway's address."""
    with lock():
        yield from run_service()


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Waits until no other demo runs in this folder."""
    OUT.parent.mkdir(exist_ok=True)
    with (OUT.parent / "demo.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("· another demo is running in this folder: waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_service() -> Iterator[str]:
    """Like service(), without the lock."""
    # The collection of an earlier run may have another model.
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    log = OUT / "up.log"
    command = [BIN / "clipserve-gateway", "up", "--data", OUT / "data"]
    ports = ("port", "http-port", "api-port", "triton-port", "triton-http-port", "triton-metrics-port")
    command += [word for port in ports for word in (f"--{port}", "0")]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
    try:
        yield wait_until_ready(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Waits for the gateway; its address. Ends the demo with the reason if it does not start."""
    end = time.monotonic() + START_SECONDS
    while "ready after" not in log.read_text():
        if process.poll() is not None:
            sys.exit(f"✗ The service did not start.\n{reason(log.read_text())}")
        if time.monotonic() > end:
            sys.exit(f"✗ The service did not start in {START_SECONDS:.0f} s; its log: {log}")
        time.sleep(0.2)
    print("".join(f"  {line}\n" for line in log.read_text().splitlines() if line.startswith("✓")))
    match = re.search(r"gateway on (\S+),", log.read_text())
    assert match, "the line with the gateway's address"
    return match[1]


def reason(log: str) -> str:
    """The last message of the service, from its last line that begins with the program's name."""
    before, name, after = log.rpartition("clipserve-gateway: ")
    return (name + after).rstrip() if name else "\n".join(before.splitlines()[-5:] or after.splitlines()[-5:])


def show(target: str, *words: str) -> None:
    """Prints a command as a user would type it, runs it, and ends the demo if it fails."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"{bold}$ clipserve {shlex.join(words)}{plain}", flush=True)
    done = subprocess.run([BIN / "clipserve", "--target", target, *words], cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)
    print(flush=True)


def main() -> None:
    """Classifies the photographs, indexes the pictures and searches them."""
    with service() as target:
        photos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "demo" / "photos").glob("*.jpg"))
        show(target, "classify", *photos, "--labels-file", "demo/labels.txt", "-k", "3")
        show(target, "index", "demo/pictures", "-c", "demo_pictures")
        for query in QUERIES:
            sheet = OUT / f"{query.replace(' ', '-')}.png"
            options = ("-c", "demo_pictures", "-k", "6", "--sheet", str(sheet.relative_to(ROOT)))
            show(target, "search", query, *options)
    print(f"✓ contact sheets: {', '.join(str(path.relative_to(ROOT)) for path in sorted(OUT.glob('*.png')))}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\n✗ interrupted")
