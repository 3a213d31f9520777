"""The command `clipserve-export`."""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import Literal

import click

from clipserve_exporter.config import Serving
from clipserve_exporter.errors import ExportError
from clipserve_exporter.stopping import stoppable

EPILOG = """
\b
Examples:
  clipserve-export --model demo --out build/model_repository
  clipserve-export --model ViT-B-32 --pretrained laion2b_s34b_b79k --out models
  clipserve-export --model ViT-B-32 --pretrained ./weights.safetensors --out models
  clipserve-export --model local-dir:./folder --precision fp16 --format libtorch --out models
"""


def list_models(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Shows what can be exported, and ends."""
    if wanted:
        from clipserve_exporter.open_clip_models import served

        for name, tags in served().items():
            click.echo(f"{name}: {', '.join(tags) or 'no weights that can be served'}")
        context.exit()


@click.command(epilog=EPILOG)
@click.option(
    "--model", required=True, metavar="NAME",
    help="'demo' (bundled), an open_clip architecture such as ViT-B-32, or local-dir:FOLDER or "
    "hf-hub:OWNER/REPO with an open_clip_config.json. It must use OpenAI's tokenizer.",
)  # fmt: skip
@click.option(
    "--pretrained", default="", metavar="TAG|FILE",
    help="Weights: a tag of open_clip's (downloaded), or a file of yours (.pt, .bin, .safetensors). "
    "Without it the weights are random: good for trying things, not for results.",
)  # fmt: skip
@click.option("--name", default="", help="Name to serve it under.  [default: from --model]")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True,
    help="fp32 everywhere; fp16 for GPUs; bf16 for GPUs and for CPUs with AVX512-BF16 or AMX.",
)  # fmt: skip
@click.option(
    "--format", "format_", type=click.Choice(["libtorch", "python"]), default="libtorch", show_default=True,
    help="libtorch for Triton's container image; python where only Triton's Python backend is at hand.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Model repository."
)
@click.option(
    "--image-batch", type=click.IntRange(1),
    help=f"Largest batch of images.  [default: by a trial, see below; else {Serving.image_batch}]",
)  # fmt: skip
@click.option(
    "--text-batch", type=click.IntRange(1), default=Serving.text_batch, show_default=True,
    help="Largest batch of texts.",
)  # fmt: skip
@click.option(
    "--queue-delay-us", type=click.IntRange(0), default=Serving.queue_delay_us, show_default=True,
    help="Microseconds that a request may wait for others to join its batch.",
)  # fmt: skip
@click.option(
    "--instances", type=click.IntRange(1),
    help="Instances of each tower, on each device.  "
    f"[default: by a trial, see below; else {Serving.instances}]",
)  # fmt: skip
@click.option(
    "--threads", metavar="INTEGER|split", callback=lambda context, option, value: threads_of(value),
    help="Threads of an instance of the Python backend; 0 = all cores that are granted, and while others are "
    "at work, its part of them; split = always its part of them.  "
    f"[default: by a trial, see below; else {Serving.threads}]",
)  # fmt: skip
@click.option(
    "--text-length", type=click.Choice(["auto", "fixed"]), default="auto", show_default=True,
    help="auto: each text at its own length, where that changes nothing; fixed: always at the full length.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="For random weights.")
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=list_models,
    help="Show the architectures that can be served, with the tags of their weights, and end.",
)  # fmt: skip
def main(
    model: str,
    pretrained: str,
    name: str,
    precision: str,
    format_: str,
    out: Path,
    image_batch: int | None,
    text_batch: int,
    queue_delay_us: int,
    instances: int | None,
    threads: int | Literal["split"] | None,
    text_length: str,
    seed: int,
) -> None:
    """Writes an open_clip model into a Triton model repository, as NAME_image and NAME_text.

    Each is a TorchScript file with its configuration. Both are compared with open_clip itself, over batch
    sizes and text lengths; what differs is not written, and what was there before stays. A name that is
    served already gets a new version: the old one serves until the new one does.

    For --format python on a CPU a short trial on this machine chooses instances, threads and the batch of
    images, and says what it measured: so export where you serve. There is no trial if you give any of the
    three, or with --precision fp16.
    """
    begin = time.monotonic()
    from clipserve_exporter.report import Report

    # Before torch is imported: threads that spin while they wait cost much where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # open_clip and the hub's client tell at length what our own sentences tell in short.
    logging.disable(logging.CRITICAL)
    report = Report()
    try:
        with stoppable(), report:
            report.begin("import torch and open_clip")
            import torch

            from clipserve_exporter.export import Order, export

            exported = export(
                Order(
                    model=model,
                    pretrained=pretrained,
                    name=name or default_name(model),
                    precision=precision,
                    format=format_,
                    out=out,
                    seed=seed,
                    serving=Serving(
                        image_batch=image_batch or Serving.image_batch,
                        text_batch=text_batch,
                        queue_delay_us=queue_delay_us,
                        instances=instances or Serving.instances,
                        threads=Serving.threads if threads is None else threads,
                    ),
                    fixed_text=text_length == "fixed",
                    trial=format_ == "python"
                    and precision != "fp16"
                    and image_batch is instances is threads is None
                    and not torch.cuda.is_available(),
                ),
                report.begin,
                report.seen,
                report.tried,
            )
    except ExportError as error:
        raise click.ClickException(str(error)) from error
    report.finish(exported, time.monotonic() - begin)


def threads_of(value: str | None) -> int | Literal["split"] | None:
    """The option --threads."""
    if value is None:
        return None
    if value == "split":
        return "split"
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a whole number from 0 on nor split")
    return int(value)


def default_name(model: str) -> str:
    """A model name from what was asked for: its last part, in lower case, without odd characters."""
    last = re.split(r"[:/]", model.rstrip("/"))[-1]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower())[:64].strip("-._") or "model"
