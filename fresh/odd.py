"""Odd places to run the demo in: each works, or says at once why it cannot."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fresh.bare import HOME, USER, BareDebian
from fresh.steps import Result, clone, downloaded_mb, folder_mb, missing

CACHE = "/var/tmp/clipserve-downloads"
"""Downloads of one row serve the next."""
NOEXEC = "mkdir -p /mnt/noexec && mount -t tmpfs -o noexec,mode=1777 tmpfs /mnt/noexec"
PORTS = "(8600, 8601, 8700, 8701, 8702)"
HOLDER = (
    f"import socket, time; held = [socket.create_server(('127.0.0.1', p)) for p in {PORTS}]; time.sleep(900)"
)
LISTEN = f'python3 -c "{HOLDER}" & holder=$!; trap "kill $holder" EXIT; sleep 1; '
BROKEN = "for m in numpy click json torch; do echo 'raise SystemExit(9)' > /srv/bad/$m.py; done"
NO_INDEX = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_RETRIES": "1",
    "PIP_CACHE_DIR": "/tmp/none",
}
NO_PROXY = {"https_proxy": "http://127.0.0.1:9", "PIP_RETRIES": "1", "PIP_CACHE_DIR": "/tmp/none"}
VENV_PACKAGE = "$(dpkg-query -S ensurepip/__init__.py | cut -d: -f1)"
TWICE = "cp -r . ../odd2 && (cd ../odd2 && make demo) & other=$!; make demo && wait $other"


@dataclass(frozen=True)
class Place:
    """One odd place, and what must come of it."""

    about: str
    folder: str = str(HOME / "odd")
    prepare: str = ""
    """A script that root runs before."""
    after: str = ""
    """A script that root runs in the end."""
    variables: Mapping[str, str] = field(default_factory=dict)
    command: str = "make demo"
    says: str = "contact sheets"
    """A pattern that the output must hold."""
    code: int = 0
    seconds: float = 1200.0
    """It must be over by then."""


ODD: dict[str, Place] = {
    "plain": Place("an ordinary place, for comparison"),
    "path": Place("spaces, quotes and umlauts in the path, LC_ALL=C", str(HOME / "my pläce (x) 'q'"),
                  variables={"LC_ALL": "C"}),
    "no-home": Place("HOME is not set", command="env -u HOME make demo"),
    "home-read-only": Place("HOME cannot be written", variables={"HOME": "/usr"}),
    "umask": Place("umask 077", command="umask 077; make demo"),
    "noexec": Place("the clone lies where programs may not run", "/mnt/noexec/odd", NOEXEC,
                    "umount /mnt/noexec", says="mounted noexec", code=2, seconds=10),
    "tmp-noexec": Place("TMPDIR is mounted noexec", prepare=NOEXEC, after="umount -l /mnt/noexec",
                        variables={"TMPDIR": "/mnt/noexec"}),
    "tmp-space": Place("TMPDIR has a space in its path", prepare=f"install -d -o {USER} '/var/tmp/a b'",
                       variables={"TMPDIR": "/var/tmp/a b"}),
    "ports": Place("8600 to 8702 are taken", command=LISTEN + "make demo"),
    "serve-ports": Place("`make serve` where its port is taken", command=LISTEN + "make serve",
                         says=r"port 8[67]0\d is taken by pid \d+", code=2),
    "venv-active": Place("another virtual environment is active",
                         command="python3 -m venv /tmp/other && . /tmp/other/bin/activate && make demo"),
    "pythonpath": Place("PYTHONPATH and LD_LIBRARY_PATH lead to broken files",
                        prepare=f"mkdir -p /srv/bad; {BROKEN}",
                        variables={"PYTHONPATH": "/srv/bad", "LD_LIBRARY_PATH": "/srv/bad"}),
    "one-core": Place("one core", command="taskset -c 0 make demo"),
    "no-network": Place("no network", variables=NO_INDEX, says="package index cannot be reached", code=2),
    "proxy": Place("a proxy that does not answer", variables=NO_PROXY,
                   says="the proxy refuses|package index cannot be reached", code=2),
    "two-clones": Place("two clones at once", command=TWICE),
    "ctrl-c": Place("interrupted in the middle, and run again",
                    command="timeout -s INT 25 make demo; make demo", says="contact sheets"),
    # The last: it leaves a machine without venv.
    "no-venv": Place("Python without its venv module",
                     prepare=f"dpkg --purge --force-depends {VENV_PACKAGE}",
                     says=r"sudo apt-get install python3\.\d+-venv", code=2, seconds=10),
}  # fmt: skip


def try_odd(machine: BareDebian, name: str, log: Path) -> Result:
    """Clones into the place and runs its command there."""
    place = ODD[name]
    log.unlink(missing_ok=True)
    if place.prepare:
        machine.run_as_root(place.prepare)
    machine.run_as_root(f"install -d -m 1777 {CACHE}")
    checkout = clone(machine, Path(PurePosixPath(place.folder)))
    begin = time.monotonic()
    variables = {"PIP_CACHE_DIR": CACHE} | dict(place.variables)
    code = machine.run(f"cd {shlex.quote(place.folder)} || exit 9; {place.command}", log, variables)
    seconds = time.monotonic() - begin
    words = log.read_text(errors="replace")
    good = code == place.code and re.search(place.says, words) and seconds <= place.seconds
    result = Result(
        machine.suite, f"{name}: {place.about}", 0 if good else code or 1, seconds,
        downloaded_mb(machine.inside(checkout)), folder_mb(machine.inside(checkout)), missing(words),
    )  # fmt: skip
    machine.run_as_root(f"rm -rf {shlex.quote(place.folder)} {HOME}/odd2; {place.after or 'true'}")
    return result
