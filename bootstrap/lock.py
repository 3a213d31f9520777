"""Writes constraints/locks: every package that runs in production, with the SHA-256 of each of its files.

    python -m bootstrap.lock

Versions come from constraints/*.txt. uv resolves the packages for every Python and processor and gets the
hashes from the package index. The address of the index is not written.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap.pythons import GATEWAY, MODELS, Range, minors, probe
from bootstrap.uv import NoPython, install_uv, last_line, run

FOLDER = "constraints/locks"
EXEMPT = re.compile(r"torch|torchvision|triton|setuptools|cuda-.*|nvidia-(?!pytriton).*")
"""torch and its companions, whose files differ by index (with or without CUDA)."""
ELSEWHERE = re.compile(r"sys_platform == '(?:win32|emscripten)'")
"""Marker of packages for systems that the project does not support."""
HEADER = """# {about}, with the SHA-256 of every file. Written by: python -m bootstrap.lock
"""


@dataclass(frozen=True)
class Lock:
    """A lock file: its requirements, and the constraints with the versions."""

    name: str
    about: str
    constraints: str
    extras: tuple[str, ...] = ()
    package: str = ""
    """Lock only this package, without its requirements, instead of the project's extras."""
    pythons: Range = MODELS
    """The Pythons that the lock is for."""


LOCKS = (
    Lock("gateway", "Gateway, SDK and CLI", "gateway", ("cli", "gateway"), pythons=GATEWAY),
    Lock("image", "The gateway's image", "gateway", ("gateway", "milvus"), pythons=GATEWAY),
    Lock("models", "The exporter, without torch", "models", ("exporter",)),
    Lock("triton", "Triton Inference Server", "models", package="nvidia-pytriton"),
    Lock("test-tools", "What the exporter's tests need", "models", ("test",)),
)


def path_of(name: str) -> str:
    return f"{FOLDER}/{name}.txt"


def command(lock: Lock, root: Path, uv: str) -> list[str]:
    words = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", minors(lock.pythons)[-1]]
    words += [
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        "--no-emit-index-url",
        "--no-emit-find-links",
    ]
    words += ["-c", str(root / "constraints" / f"{lock.constraints}.txt")]
    if lock.package:
        source = root / "build" / "setup" / f"{lock.name}.in"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(lock.package + "\n")
        return [*words, "--no-deps", str(source)]
    extras = [word for extra in lock.extras for word in ("--extra", extra)]
    return [*words, *extras, str(root / "pyproject.toml")]


def blocks(text: str) -> Iterator[str]:
    """The packages of a lock file, each with the lines of its hashes."""
    block: list[str] = []
    for line in text.splitlines():
        if block and not line.startswith(" "):
            yield "\n".join(block)
            block = []
        if line and not line.startswith("#"):
            block.append(line)
    if block:
        yield "\n".join(block)


def kept(block: str) -> bool:
    name, _, rest = block.partition("==")
    return not EXEMPT.fullmatch(name) and not ELSEWHERE.search(rest)


def write(lock: Lock, root: Path, uv: str) -> None:
    """Writes one lock file. Raises NoPython if uv fails."""
    done = run(command(lock, root, uv))
    if done.returncode:
        raise NoPython(f"{path_of(lock.name)}: {last_line(done)}")
    packages = [block for block in blocks(done.stdout) if kept(block)]
    target = root / path_of(lock.name)
    target.parent.mkdir(exist_ok=True)
    target.write_text(HEADER.format(about=lock.about) + "\n".join(packages) + "\n")


def main(names: Sequence[str]) -> None:
    """Writes the named locks, or all."""
    root = Path(__file__).parents[1]
    python = probe(sys.executable)
    assert python is not None
    uv = shutil.which("uv") or install_uv(root / "build" / "setup" / "uv", python)
    for lock in LOCKS:
        if not names or lock.name in names:
            write(lock, root, uv)
            print(path_of(lock.name))


if __name__ == "__main__":
    main(sys.argv[1:])
