"""What exact text truncation gains: short prompts through Triton, at their own length and padded to 77.

    .venv/bin/python bench/text_truncation.py

Exports each model twice (the usual form, and `--text-length fixed`), serves both on one Triton with the
same batching, and lets the same callers send the same prompts to both by turns, so that a busy machine
slows both. Needs the two environments that `make setup` makes.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from clipserve_gateway.runtime.install import find_install
from clipserve_gateway.runtime.triton_process import TritonPorts, TritonProcess, free_ports
from clipserve_gateway.tokenizer import OpenAITokenizer
from clipserve_gateway.types import Ids
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

ROOT = Path(__file__).parents[1]
TEMPLATES = (
    "a photo of a {}.",
    "a close-up photo of the {}.",
    "a drawing of a {}.",
    "a bright photo of a {}.",
)
NOUNS = (
    "cat", "dog", "horse", "red car", "sailing ship", "coffee cup", "traffic light", "golden retriever",
    "pocket watch", "mountain bike", "bald eagle", "grand piano", "fire engine", "tennis ball", "lighthouse",
    "strawberry",
)  # fmt: skip
PROMPTS = [template.format(noun) for template, noun in itertools.product(TEMPLATES, NOUNS)]
BAR = 3.0
CONTEXT = 77


@dataclass(frozen=True)
class Load:
    """How prompts are sent."""

    what: str
    callers: int
    texts_per_call: int


LOADS = (Load("32 callers of one prompt", 32, 1), Load("4 callers of 16 prompts", 4, 16))


@click.command()
@click.option("--model", "models", multiple=True, default=("demo", "ViT-B-32"), show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Turns of each form.")
@click.option("--seconds", default=4.0, show_default=True, help="Length of a turn.")
@click.option("--models-env", type=click.Path(path_type=Path), default=ROOT / ".venv-models")
@click.option(
    "--build", type=click.Path(path_type=Path), default=ROOT / "build" / "bench", help="For exports."
)
def main(models: Sequence[str], rounds: int, seconds: float, models_env: Path, build: Path) -> None:
    """Measures texts a second with truncation and at the full length; exit code 1 below 3 times."""
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as folder:
        for model in models:
            for form in ("auto", "fixed"):
                link_text_tower(export(model, form, models_env, build), Path(folder))
        ratios = asyncio.run(measure_all(Path(folder), models_env, models, rounds, seconds))
    sys.exit(0 if min(ratios) >= BAR else 1)


def export(model: str, form: str, models_env: Path, build: Path) -> Path:
    """Exports a model, unless that was done before; its text tower's folder."""
    name = f"{model.lower()}-{form}"
    tower = build / f"{name}_text"
    if not tower.exists():
        click.echo(f"· exporting {name}", err=True)
        subprocess.run(
            [
                models_env / "bin" / "clipserve-export",
                *("--model", model, "--name", name, "--format", "python"),
                *("--text-length", form, "--out", build),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return tower.resolve()


def link_text_tower(tower: Path, repository: Path) -> None:
    """Puts one tower into a repository of its own: the image towers would only take memory."""
    (repository / tower.name).symlink_to(tower)


async def measure_all(
    repository: Path, models_env: Path, models: Sequence[str], rounds: int, seconds: float
) -> list[float]:
    """Every model under every load; the gains."""
    ports = TritonPorts(*free_ports(0, 0, 0))
    triton = TritonProcess(find_install(models_env), repository, ports)
    await triton.start()
    client = InferenceServerClient(f"127.0.0.1:{ports.grpc}")
    try:
        towers = [f"{model.lower()}-{form}_text" for model in models for form in ("auto", "fixed")]
        await until_ready(client, triton, towers)
        ratios = []
        click.echo(f"{'model':10} {'load':26} {'77 tokens':>10} {'truncated':>10} {'gain':>6}  mean batch")
        for model, load in itertools.product(models, LOADS):
            ratios.append(await compare(client, model, load, rounds, seconds))
        return ratios
    finally:
        await client.close()
        await triton.stop()


async def until_ready(client: InferenceServerClient, triton: TritonProcess, towers: Sequence[str]) -> None:
    """Waits until all towers are loaded."""
    click.echo("· Triton loads", err=True)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            if all([await client.is_model_ready(tower, client_timeout=5) for tower in towers]):
                return
        except Exception:  # whatever a server that is not up yet answers
            pass
        await asyncio.sleep(0.5)
    raise click.ClickException(f"Triton did not load:\n{triton.last_words()}")


async def compare(
    client: InferenceServerClient, model: str, load: Load, rounds: int, seconds: float
) -> float:
    """One line of the report; how many times faster truncation is, as the median over the rounds."""
    tokens = [text.ids for text in OpenAITokenizer(CONTEXT).encode(PROMPTS)]
    rates: dict[str, list[float]] = {"fixed": [], "auto": []}
    batches = {}
    for _ in range(rounds):
        for form in rates:
            tower = f"{model.lower()}-{form}_text"
            rate, batch = await turn(client, tower, load, tokens, seconds)
            rates[form].append(rate)
            batches[form] = batch
    gain = statistics.median(fast / slow for fast, slow in zip(rates["auto"], rates["fixed"], strict=True))
    slow, fast = (statistics.median(rates[form]) for form in ("fixed", "auto"))
    click.echo(
        f"{model:10} {load.what:26} {slow:8.1f}/s {fast:8.1f}/s {gain:5.1f}×  "
        f"{batches['fixed']:.1f} and {batches['auto']:.1f}"
    )
    return gain


async def turn(
    client: InferenceServerClient, tower: str, load: Load, tokens: Sequence[Ids], seconds: float
) -> tuple[float, float]:
    """Texts a second of one tower, and its mean batch."""
    fixed = tower.endswith("-fixed_text")
    supply = itertools.cycle(range(0, len(tokens), load.texts_per_call))
    done = 0

    async def caller(until: float) -> None:
        nonlocal done
        while time.monotonic() < until:
            first = next(supply)
            rows = tokens[first : first + load.texts_per_call]
            await client.infer(tower, [padded(rows, CONTEXT if fixed else 0)], client_timeout=120)
            done += len(rows)

    before, begin = await counts(client, tower), time.monotonic()
    await asyncio.gather(*(caller(begin + seconds) for _ in range(load.callers)))
    elapsed = time.monotonic() - begin
    inferences, executions = np.subtract(await counts(client, tower), before)
    return done / elapsed, inferences / executions


def padded(rows: Sequence[Ids], length: int) -> InferInput:
    """Texts as one tensor, as long as the longest of them and at least `length`."""
    batch = np.zeros((len(rows), max(length, *(len(row) for row in rows))), np.int32)
    for target, row in zip(batch, rows, strict=True):
        target[: len(row)] = row
    tensor = InferInput("INPUT__0", list(batch.shape), "INT32")
    tensor.set_data_from_numpy(batch)
    return tensor


async def counts(client: InferenceServerClient, tower: str) -> tuple[int, int]:
    """Inferences and executions so far."""
    statistics_ = (await client.get_inference_statistics(tower)).model_stats[0]
    return statistics_.inference_count, statistics_.execution_count


if __name__ == "__main__":
    main()
