"""Odd conditions for the demo: it works, or tells at once why it cannot."""

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
"""Downloads, shared by all conditions."""
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
class Condition:
    """An odd condition, and the expected outcome."""

    about: str
    folder: str = str(HOME / "odd")
    prepare: str = ""
    """Script that root runs before."""
    after: str = ""
    """Script that root runs at the end."""
    variables: Mapping[str, str] = field(default_factory=dict)
    command: str = "make demo"
    says: str = "contact sheets"
    """Pattern that the output must have."""
    code: int = 0
    seconds: float = 1200.0
    """Maximum duration."""


ODD: dict[str, Condition] = {
    "plain": Condition("an ordinary condition, for comparison"),
    "path": Condition("spaces, quotes and umlauts in the path, LC_ALL=C", str(HOME / "my pläce (x) 'q'"),
                  variables={"LC_ALL": "C"}),
    "no-home": Condition("HOME is not set", command="env -u HOME make demo"),
    "home-read-only": Condition("HOME cannot be written", variables={"HOME": "/usr"}),
    "umask": Condition("umask 077", command="umask 077; make demo"),
    "noexec": Condition("the clone lies where programs may not run", "/mnt/noexec/odd", NOEXEC,
                    "umount /mnt/noexec", says="mounted noexec", code=2, seconds=10),
    "tmp-noexec": Condition("TMPDIR is mounted noexec", prepare=NOEXEC, after="umount -l /mnt/noexec",
                        variables={"TMPDIR": "/mnt/noexec"}),
    "tmp-space": Condition("TMPDIR has a space in its path", prepare=f"install -d -o {USER} '/var/tmp/a b'",
                       variables={"TMPDIR": "/var/tmp/a b"}),
    "ports": Condition("8600 to 8702 are taken", command=LISTEN + "make demo"),
    "serve-ports": Condition("`make serve` where its port is taken", command=LISTEN + "make serve",
                         says=r"port 8[67]0\d is taken by pid \d+", code=2),
    "venv-active": Condition("another virtual environment is active",
                         command="python3 -m venv /tmp/other && . /tmp/other/bin/activate && make demo"),
    "pythonpath": Condition("PYTHONPATH and LD_LIBRARY_PATH lead to broken files",
                        prepare=f"mkdir -p /srv/bad; {BROKEN}",
                        variables={"PYTHONPATH": "/srv/bad", "LD_LIBRARY_PATH": "/srv/bad"}),
    "one-core": Condition("one core", command="taskset -c 0 make demo"),
    "no-network": Condition("no network", variables=NO_INDEX, says="package index cannot be reached", code=2),
    "proxy": Condition("a proxy that does not answer", variables=NO_PROXY,
                   says="the proxy refuses|package index cannot be reached", code=2),
    "two-clones": Condition("two clones at once", command=TWICE),
    "ctrl-c": Condition("interrupted in the middle, and run again",
                    command="timeout -s INT 25 make demo; make demo", says="contact sheets"),
    # Last, as it removes venv from the system.
    "no-venv": Condition("Python without its venv module",
                     prepare=f"dpkg --purge --force-depends {VENV_PACKAGE}",
                     says=r"sudo apt-get install python3\.\d+-venv", code=2, seconds=10),
}  # fmt: skip


def try_odd(machine: BareDebian, name: str, log: Path) -> Result:
    condition = ODD[name]
    log.unlink(missing_ok=True)
    if condition.prepare:
        machine.run_as_root(condition.prepare)
    machine.run_as_root(f"install -d -m 1777 {CACHE}")
    checkout = clone(machine, Path(PurePosixPath(condition.folder)))
    begin = time.monotonic()
    variables = {"PIP_CACHE_DIR": CACHE} | dict(condition.variables)
    code = machine.run(f"cd {shlex.quote(condition.folder)} || exit 9; {condition.command}", log, variables)
    seconds = time.monotonic() - begin
    words = log.read_text(errors="replace")
    good = code == condition.code and re.search(condition.says, words) and seconds <= condition.seconds
    result = Result(
        machine.suite, f"{name}: {condition.about}", 0 if good else code or 1, seconds,
        downloaded_mb(machine.inside(checkout)), folder_mb(machine.inside(checkout)), missing(words),
    )  # fmt: skip
    machine.run_as_root(f"rm -rf {shlex.quote(condition.folder)} {HOME}/odd2; {condition.after or 'true'}")
    return result
