"""Exports a model before it is served: `clipserve-gateway up --model`.

The exporter runs as a process of its own in the models' environment, since it needs torch.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from clipserve_gateway.local.die_with_parent import die_with_parent
from clipserve_gateway.local.triton_log import is_remote
from clipserve_gateway.settings import host_environment

PROGRAM = "clipserve-export"
DEFAULT_REPOSITORY = Path("build/model_repository")
FOLDER = "models"
"""Folder in the data folder for the repositories of named models."""
PASSED = ("pretrained", "name", "precision", "device", "activation", "tokenizer", "licenses", "license")
"""Options that the exporter has under the same name."""


class ExportFailed(Exception):
    """The model was not exported; the message has the reason or says where it stands."""


@dataclass(frozen=True)
class ModelOrder:
    """The model to serve, and options of its export; empty ones are the exporter's defaults."""

    model: str
    options: dict[str, str]
    random: bool = False
    """Whether random weights are accepted."""

    def arguments(self, repository: Path) -> list[str]:
        """The arguments of the exporter."""
        given = [f"--{name}={value}" for name, value in self.options.items() if value]
        weights = [] if self.random else ["--require-weights"]
        fixed = ["--format=python", "--reuse", f"--out={repository.absolute()}"]
        return [f"--model={self.model}", *given, *weights, *fixed]


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that name a model to a command."""
    options = (
        click.option(
            "--model",
            metavar="NAME|FOLDER",
            help="Export this model first, unless it was exported before, and serve it: an architecture of "
            "open_clip, hf-hub:OWNER/REPO or a folder, as for `clipserve-export`.",
        ),
        click.option("--pretrained", default="", metavar="TAG|FILE", help="Weights of --model."),
        click.option("--random", is_flag=True, help="Accept random weights of --model, for tests."),
        click.option("--name", default="", help="Name that serves --model.  [default: from --model]"),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
            default="auto",
            show_default=True,
            help="Precision of --model.",
        ),
        click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Device that runs --model."),
        click.option(
            "--activation",
            type=click.Choice(["quickgelu", "gelu"]),
            help="What the weights of --model were trained with, if they do not tell it.",
        ),
        click.option(
            "--tokenizer",
            default="",
            metavar="FOLDER",
            help="Tokenizer of --model, if it has none of its own.",
        ),
        click.option("--licenses", default="", metavar="NAME,…", help="Accepted licenses of the weights."),
        click.option("--license", default="", metavar="NAME", help="License of the weights, if not known."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def order_of(options: dict[str, Any]) -> ModelOrder | None:
    """Takes the options of a model out of a command's options; None if no model is named.

    Raises click.UsageError for options of a model without a model.
    """
    model, random = options.pop("model"), options.pop("random")
    given = {name: str(options.pop(name) or "") for name in PASSED}
    if model:
        return ModelOrder(model, given, random)
    extra = [name for name, value in given.items() if value and (name, value) != ("precision", "auto")]
    if extra or random:
        raise click.UsageError(f"--{extra[0] if extra else 'random'} belongs to --model, which is missing")
    return None


def repository_for(given: Path | None, data: str, order: ModelOrder | None) -> Path:
    """The model repository: the given one, or for a named model a folder of its own in the data folder.

    Raises click.UsageError if the data are not in a folder.
    """
    if given is not None or order is None:
        return given or DEFAULT_REPOSITORY
    if is_remote(data):
        raise click.UsageError("--data is not a folder on this machine; name one with --model-repository")
    last = (order.options.get("name") or order.model.rstrip("/")).rpartition("/")[2]
    return Path(data) / FOLDER / (re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-") or "model")


def export_command(order: ModelOrder, models_env: Path, repository: Path) -> list[str]:
    """The exporter's command line. Raises ExportFailed if it is not installed."""
    program = models_env.absolute() / "bin" / PROGRAM
    if not program.exists():
        raise ExportFailed(f"{program} is missing; run `make setup`")
    return [*die_with_parent(signal.SIGTERM), str(program), *order.arguments(repository)]


async def export_model(order: ModelOrder, models_env: Path, repository: Path, stop: asyncio.Event) -> bool:
    """Runs the exporter, which shows its own report; false if `stop` was set before it ended.

    Raises ExportFailed if it does not succeed.
    """
    command = export_command(order, models_env, repository)
    process = await asyncio.create_subprocess_exec(*command, env=dict(host_environment()))
    ended, stopped = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            process.terminate()
            await ended
        if stop.is_set():
            return False
        if ended.result() != 0:
            raise ExportFailed(f"{order.model} was not exported; the reason is above")
        return True
    finally:
        stopped.cancel()
        if process.returncode is None:
            process.kill()
