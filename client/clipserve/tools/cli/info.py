"""`clipserve info`."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.text import Text

from clipserve.tools.cli.errors import TRY_AGAIN, Failure
from clipserve.tools.cli.options import Server, server_options
from clipserve.tools.cli.terminal import console, table
from clipserve.types import ModelInfo, ServerInfo

NOT_READY = (
    "no model is ready; models may still be loading: try again in a few seconds, then check that Triton runs "
    "and has models"
)


@click.command()
@server_options
def info(server: Server) -> None:
    """Show the server's models and limits.

    \b
    Examples:
      clipserve info
      clipserve info --target gateway:8600 --json
    """
    with server.client() as client:
        info = client.info()
    server.answer({"target": server.target, **asdict(info)}, lambda: show(server.target, info))
    if not any(model.ready for model in info.models):
        facts = {"code": "UNAVAILABLE", "reason": "MODEL_UNAVAILABLE", "field": "", "metadata": {}}
        raise Failure(NOT_READY, TRY_AGAIN, {**facts, "request_id": ""} if server.as_json else None)


def show(target: str, info: ServerInfo) -> None:
    out = console()
    out.print(Text.assemble((f"clipserve {info.version}", "bold"), f" at {target}"))
    out.print()
    models = table(
        "model",
        "",
        "architecture",
        ("dim", "right"),
        ("pixels", "right"),
        ("tokens", "right"),
        "tokenizer",
        "precision",
        "license",
        "fingerprint",
    )
    for model in info.models:
        default = " (default)" if model.name == info.default_model else ""
        models.add_row(
            Text(model.name + default),
            Text("ready", "green") if model.ready else Text("not ready", "red"),
            Text(model.architecture),
            dims_of(model),
            pixels_of(model),
            f"{model.context_length}",
            Text(model.tokenizer),
            Text(f"{model.precision} on {model.device}" if model.device else model.precision),
            Text(model.license or "unknown"),
            Text(model.ref.fingerprint[:12]),
        )
    if info.models:
        out.print(models)
    names = {model.name for model in info.models}
    if len(names) > 1 or (names and info.default_model not in names):
        out.print(Text(which_default(info), "dim"))
    out.print(Text(f"images: {info.image_rules}; a collection has its own rules", "dim"))
    limits = table("limit", ("value", "right"), title="")
    for name, value in asdict(info.limits).items():
        limits.add_row(name.removeprefix("max_").replace("_", " "), f"{value:,}")
    out.print()
    out.print(limits)


def dims_of(model: ModelInfo) -> str:
    """Dimensions of an embedding, and the smaller numbers that the model was trained for."""
    return ", ".join(map(str, (model.ref.embed_dim, *model.matryoshka_dims)))


def pixels_of(model: ModelInfo) -> str:
    """The input of the image encoder, and how images get its shape if they are not cropped."""
    shape = f"{model.image_size}" if model.image_size else f"{model.image_width} × {model.image_height}"
    return shape if model.resize == "shortest" else f"{shape} ({model.resize})"


def which_default(info: ServerInfo) -> str:
    """Which model answers calls that do not name one."""
    setting = "the server's CLIPSERVE_DEFAULT_MODEL"
    if info.default_model and all(model.name != info.default_model for model in info.models):
        return (
            f"the default model {info.default_model} is missing: calls must name a model until it is "
            f"back or {setting} names another"
        )
    if info.default_model:
        return f"calls that name no model use {info.default_model}; set the default with {setting}"
    return f"calls must name a model; set a default with {setting}"
