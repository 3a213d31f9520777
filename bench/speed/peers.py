"""Servers of others, in an environment of their own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from clipserve_gateway.local.ports import free_ports

from bench.speed import BUILD, PEER_ENV, ROOT, messages
from testing.launch import launch

START_SECONDS = 300.0
HERE = Path(__file__).parent
PATHS = {"PYTHONPATH": str(ROOT / "exporter")}
"""For the peers' Python: they take their weights and torchvision stand-in from the exporter."""
INFINITY_MODEL = BUILD / "infinity-vit-b-32"
INFINITYS = "ViT-B-32"
"""The architecture that infinity has too."""


@dataclass(frozen=True)
class Peer:
    """A server that answers POSTs of one picture, while it is awake."""

    name: str
    pid: int
    url: str
    request: Callable[[bytes], bytes]
    same_weights: bool
    """Else it has other random ones, of the same architecture."""

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Lets its processes run. LitServe's take a ninth of a core even without a call."""
        signal_all(self.pid, signal.SIGCONT)
        try:
            yield
        finally:
            signal_all(self.pid, signal.SIGSTOP)

    def embed(self, photo: bytes) -> np.ndarray:
        """The embedding that it gives a picture, float32 [D]."""
        headers = {"Content-Type": "application/json"}
        post = urllib.request.Request(self.url, self.request(photo), headers)
        with self.awake(), urllib.request.urlopen(post, timeout=60) as response:
            answer = json.load(response)
        if "embedding" in answer:
            return np.array(answer["embedding"], np.float32)
        return np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4")


@contextlib.contextmanager
def peers_of(model: str, folder: Path) -> Iterator[list[Peer]]:
    """The peers of a model, started; none where they are not installed."""
    with contextlib.ExitStack() as held:
        found: list[Peer] = []
        if (PEER_ENV / ".ready").exists():
            found.append(held.enter_context(litserve(model, folder)))
            if model == INFINITYS:
                found.append(held.enter_context(infinity(folder)))
        yield found


@contextlib.contextmanager
def litserve(model: str, folder: Path) -> Iterator[Peer]:
    """LitServe with open_clip and the weights that clipserve has."""
    address = f"127.0.0.1:{free_ports(0)[0]}"
    command = [HERE / "litserve_app.py", model, address.rpartition(":")[2]]
    with running("LitServe", command, f"http://{address}/health", folder) as pid:
        yield Peer("LitServe", pid, f"http://{address}/predict", messages.litserve_image, same_weights=True)


@contextlib.contextmanager
def infinity(folder: Path) -> Iterator[Peer]:
    """infinity-emb with an architecture like ViT-B/32 and random weights."""
    script = HERE / "infinity.py"
    if not (INFINITY_MODEL / "model.safetensors").exists():
        made = [PEER_ENV / "bin" / "python", script, "model", INFINITY_MODEL]
        subprocess.run(made, check=True, stderr=subprocess.DEVNULL, env=os.environ | PATHS)
    address = f"127.0.0.1:{free_ports(0)[0]}"
    options = "--engine torch --device cpu --dtype float32 --no-bettertransformer --host 127.0.0.1"
    command = [script, "v2", "--model-id", INFINITY_MODEL, "--served-model-name", messages.INFINITY_MODEL]
    command += [*options.split(), "--port", address.rpartition(":")[2]]
    with running("infinity", command, f"http://{address}/health", folder) as pid:
        yield Peer(
            "infinity", pid, f"http://{address}/embeddings", messages.infinity_image, same_weights=False
        )


@contextlib.contextmanager
def running(name: str, command: Sequence[object], health: str, folder: Path) -> Iterator[int]:
    """A server by the peers' Python, ready and then asleep: its process. Ended afterwards."""
    click.echo(f"· starting {name}", err=True)
    log = folder / f"{name.lower()}.log"
    # Threads that wait in a loop would have the cores of the others: as for clipserve's models.
    env = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "OMP_WAIT_POLICY": "PASSIVE"} | PATHS
    process = launch([PEER_ENV / "bin" / "python", *command], log=log, cwd=ROOT, env=env)
    try:
        wait_for(health, process, log)
        signal_all(process.pid, signal.SIGSTOP)
        yield process.pid
    finally:
        signal_all(process.pid, signal.SIGCONT)
        # It has nothing to lose, and LitServe does not always end when it is asked to.
        process.kill()
        process.wait()


def signal_all(pid: int, what: signal.Signals) -> None:
    """Sends a signal to a process and to all that it has started."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, what)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                signal_all(int(child), what)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until a server answers there; ClickException with its log if it does not."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.5)
    raise click.ClickException(f"{url} does not answer:\n{log.read_text()[-3000:]}")
