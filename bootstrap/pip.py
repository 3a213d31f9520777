"""Runs pip with progress, and explains its errors in one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from bootstrap.machine import MB

UNWANTED = (
    "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "VIRTUAL_ENV",
    "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_DEPS", "PIP_DRY_RUN", "PIP_PYTHON",
    "__PYVENV_LAUNCHER__",
)  # fmt: skip
"""Variables that make pip install elsewhere or import modules from outside."""

UNITS = {"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "bytes": 1.0}

DOWNLOADING = re.compile(r"^\s*Downloading (\S+).*?\(([\d.]+) ([kKMG]?B|bytes)\)")
LOCAL = re.compile(r"^\s*Processing (/.+?\.(?:whl|tar\.gz))(?: \(from .*\))?$")
WRITES = re.compile(r"^\s*Installing collected packages")

ERRORS: tuple[tuple[str, str], ...] = (
    (r"No space left on device|Errno 28|Disk quota exceeded", "the disk is full"),
    (r"DO NOT MATCH THE HASHES", "the hash of a downloaded file differs from the lock file"),
    (r"SSLError|CERTIFICATE_VERIFY_FAILED", "the package index's certificate is not trusted; if a proxy "
     "rewrites TLS, name its certificate in PIP_CERT"),
    (r"ProxyError|Tunnel connection failed|Cannot connect to proxy",
     "the proxy refuses; check http_proxy, https_proxy and PIP_PROXY"),
    (r"name resolution|Name or service not known|NewConnectionError|Connection refused|Network is unreachable"
     r"|ConnectTimeout|timed out|Connection reset|Connection broken|IncompleteRead|ConnectionError"
     r"|ProtocolError",
     "the package index cannot be reached; check the network, or see docs/install.md "
     "for mirrors and for work without network"),
    (r"Failed building editable", "the project itself cannot be built; see the end of pip's output"),
    (r"Unknown compiler|command '\S*gcc\S*' failed|Failed building wheel|metadata-generation-failed"
     r"|Could not build wheels",
     "a package has no ready-made build for this Python and processor"),
    (r"Permission denied|Read-only file system", "the environment's folder cannot be written"),
    (r"the requirement (\S+) \(from versions: none\)",
     "the package index cannot be reached, or lacks {0}; check the network, or see docs/install.md"),
    (r"No matching distribution found for (\S+)",
     "the package index has no build of {0} for this Python and processor"),
    (r"BadZipFile|is invalid|incorrect header check|Data-loss|ReadError|IncompleteRead",
     "a download is incomplete or damaged; run the command again"),
    (r"401|403 Client Error", "the package index refuses access; check its address and password"),
)  # fmt: skip
"""Patterns of pip's output and their meanings; the most specific come first."""


class PipFailed(Exception):
    """pip failed; the message tells why, and where its output is."""


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for programs of an environment, without those that lead to other packages."""
    return {key: value for key, value in environ.items() if key not in UNWANTED} | {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        # Variables win over pip's configuration files.
        "PIP_NO_DEPS": "0",
        "PIP_USER": "0",
        "PYTHONUNBUFFERED": "1",
    }


def cache_folder(root: Path) -> Path:
    """Folder of downloads until the set-up is complete, unless PIP_CACHE_DIR names another one."""
    return root / "build" / "setup" / "downloads"


def temporary_folder(root: Path) -> Path:
    return root / "build" / "setup" / "tmp"


class Pip:
    """pip of one environment."""

    running: ClassVar[set[subprocess.Popen[str]]] = set()
    """The running pips of this process."""
    held: ClassVar[tuple[int, ...]] = ()
    """Files that each pip keeps open: the folder's lock, which it then holds even if its parent is killed."""
    stopping: ClassVar[threading.Event] = threading.Event()
    """If set, no further pip is started."""

    def __init__(self, python: Path, root: Path, log: Path) -> None:
        """`python` is the environment's interpreter; all output of pip goes to `log`."""
        self._python = python
        self._root = root
        self._log = log

    def run(self, words: Sequence[str], told: Callable[[str, int], None], writes: Callable[[], None]) -> int:
        """Runs a command of pip in the project's folder; the downloaded bytes.

        Args:
            words: pip's command and options.
            told: called with what pip does now and the bytes so far.
            writes: called before pip writes into the environment.
        """
        # Python compiles modules when it imports them; compiling all would take 300 MB.
        options = ["--no-compile", "--no-color", "--progress-bar", "off"]
        command = [os.fspath(self._python), "-m", "pip", *words, *options]
        if self.stopping.is_set():
            raise PipFailed("interrupted")
        size, lines = 0, []
        with self._log.open("a", encoding="utf-8") as log, self._begin(command) as process:
            log.write(f"$ {' '.join(command)}\n")
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                lines.append(line)
                name, more = downloaded(line)
                size += more
                if name:
                    told(name, size)
                if WRITES.match(line):
                    told("unpacking", size)
                    writes()
        self.running.discard(process)
        if process.returncode:
            raise PipFailed(f"{meaning(''.join(lines))}. pip's output: {self._log}")
        return size

    def _begin(self, command: list[str]) -> subprocess.Popen[str]:
        # An interrupted pip leaves files behind: in the project's folder, not in /tmp.
        temporary_folder(self._root).mkdir(parents=True, exist_ok=True)
        variables = {"PIP_CACHE_DIR": os.fspath(cache_folder(self._root))} | clean_environment(os.environ)
        variables |= {"TMPDIR": os.fspath(temporary_folder(self._root))}
        process = subprocess.Popen(
            command, cwd=self._root, env=variables, pass_fds=self.held,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        self.running.add(process)
        return process

    @classmethod
    def stop_all(cls) -> None:
        cls.stopping.set()
        for process in list(cls.running):
            process.terminate()


def downloaded(line: str) -> tuple[str, int]:
    """The file in a line of pip's output, and its bytes; ('', 0) for other lines."""
    if match := DOWNLOADING.match(line):
        return match[1].rpartition("/")[2], int(float(match[2]) * UNITS[match[3]])
    if match := LOCAL.match(line):
        path = Path(match[1])
        return path.name, path.stat().st_size if path.exists() else 0
    return "", 0


def meaning(output: str) -> str:
    """The error in pip's output, in one sentence."""
    for pattern, words in ERRORS:
        if match := re.search(pattern, output):
            return words.format(*match.groups())
    errors = [line.strip() for line in output.splitlines() if line.lower().lstrip().startswith("error")]
    return (errors or output.strip().splitlines() or ["pip failed without a message"])[-1][:300]


def megabytes(size: float) -> str:
    return f"{size / MB:.0f} MB" if size >= MB else f"{size / 1000:.0f} kB"
