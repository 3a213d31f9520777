"""A gateway's catalog in a process of its own, for races between several.

    python -m testing.name_process URI ACTION

It reads names from its standard input, one a line, does ACTION with each, and writes a line: `ok`, with what
came of it, or the class of the error.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import subprocess
import sys
from collections.abc import Coroutine

from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.collection.spec import CollectionSpec, Generation
from clipserve_gateway.collection.tables import new_table_name
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.types import LabelSet

TARGET = "target"


def new_collection(name: str) -> CollectionSpec:
    """A collection that can be made."""
    generation = Generation(new_table_name(name), "fake", "f" * 64, 8, stamped=True)
    return CollectionSpec(name, {}, dt.datetime.now(dt.timezone.utc), generation)


class Gateway:
    """A process that waits for names."""

    def __init__(self, uri: str, action: str) -> None:
        paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "testing.name_process", uri, action],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | paths,
        )

    def begin(self, name: str) -> None:
        """Lets it act on a name."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """What came of it."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


def race(name: str, *gateways: Gateway) -> list[str]:
    """Lets all act on one name at once; what came of each."""
    for gateway in gateways:
        gateway.begin(name)
    return [gateway.answer() for gateway in gateways]


async def act(engine: LanceEngine, catalog: Catalog, action: str, name: str) -> str:
    """Does one thing with a name."""
    if action == "create":
        await catalog.create(new_collection(name))
    elif action == "drop":
        await catalog.drop(name)
    elif action == "alias":
        await catalog.put_alias(name, TARGET)
    elif action == "alias to":
        await catalog.put_alias(f"alias_of_{name}", name)
    else:
        labels = LabelSet(names=("cat", action), templates=("{}",))
        stored, _ = await LabelSets(engine).put(name, labels)
        return str(stored.ref.version)
    return ""


async def outcome(doing: Coroutine[None, None, str]) -> str:
    """What came of it, in words."""
    try:
        return f"ok {await doing}"
    except ClipserveError as error:
        return type(error).__name__


async def main(uri: str, action: str) -> None:
    engine = LanceEngine(uri)
    await engine.open()
    catalog = Catalog(engine)
    print("ready", flush=True)
    for line in sys.stdin:
        print(await outcome(act(engine, catalog, action, line.strip())), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
