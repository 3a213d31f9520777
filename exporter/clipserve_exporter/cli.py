"""The command `clipserve-export`."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

import click

from clipserve_exporter.config import Serving
from clipserve_exporter.errors import ExportError
from clipserve_exporter.precision import AUTO, DEVICES, MIN_COSINE, device_here
from clipserve_exporter.reuse import export_key, is_exported, record_export
from clipserve_exporter.stopping import stoppable

EPILOG = """
\b
Examples:
  clipserve-export --model demo --out build/model_repository
  clipserve-export --model ViT-B-32 --pretrained laion2b_s34b_b79k --out models
  clipserve-export --model ViT-B-32 --pretrained ./weights.safetensors --out models
  clipserve-export --model ./folder --precision fp16 --format libtorch --out models
  clipserve-export --list --json
"""

KINDS = {None: Serving.kind, "cpu": "KIND_CPU", "cuda": "KIND_GPU"}
"""Where Triton runs a model, by --device."""
CHOSEN_BY_TRIAL = ("image_batch", "instances", "threads")
SERVING = (*CHOSEN_BY_TRIAL, "text_batch", "queue_delay_us")
"""Options that are fields of Serving. The other options of `main` are fields of Order."""


def print_list(as_json: bool) -> None:
    """Prints all weights that open_clip publishes."""
    from clipserve_exporter.sources.listing import lines, listing

    if as_json:
        click.echo(json.dumps(listing(), indent=1))
        return
    for line in lines():
        click.echo(line)


@click.command(epilog=EPILOG)
@click.option(
    "--model", metavar="NAME|FOLDER",
    help="'demo' (bundled), an open_clip architecture such as ViT-B-32, hf-hub:OWNER/REPO with an "
    "open_clip_config.json, or a folder: of open_clip (open_clip_config.json) or of transformers (CLIPModel, "
    "SiglipModel, Siglip2Model, ChineseCLIPModel).  [required]",
)  # fmt: skip
@click.option(
    "--pretrained", default="", metavar="TAG|FILE",
    help="Weights: a tag that open_clip downloads, or a local file (.pt, .bin, .safetensors). "
    "Without this option the weights are random: useful for tests, not for results.",
)  # fmt: skip
@click.option(
    "--activation", type=click.Choice(["quickgelu", "gelu"]), default=None,
    help="What the weights were trained with, for a file that does not tell it. Tags and folders tell it.",
)  # fmt: skip
@click.option(
    "--tokenizer", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
    help="Folder with the files of the model's Hugging Face tokenizer, if this machine cannot download them. "
    "Not for models with OpenAI's tokenizer.",
)  # fmt: skip
@click.option("--name", default="", help="Name under which the model is served.  [default: from --model]")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16", "fp16", AUTO]), default="fp32", show_default=True,
    help="fp32 runs everywhere; fp16 is for GPUs; bf16 is for GPUs and for CPUs with AVX512-BF16 or AMX. "
    "auto looks at this machine: bf16 with --format python on such a CPU, fp16 for --device cuda, if the "
    f"embeddings keep a cosine of {MIN_COSINE} to open_clip's; else fp32. For another machine than this one, "
    "name the precision.",
)  # fmt: skip
@click.option(
    "--device", type=click.Choice(DEVICES),
    help="The device that will serve. Triton then runs the model on it, and nowhere else.  [default: a GPU "
    "if Triton has one, else the CPU; auto and the trial assume what this machine has]",
)  # fmt: skip
@click.option(
    "--format", type=click.Choice(["libtorch", "python"]), default="libtorch", show_default=True,
    help="libtorch for Triton's container image; python if only Triton's Python backend is available.",
)  # fmt: skip
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the model repository.  [required]",
)
@click.option(
    "--image-batch", type=click.IntRange(1),
    help=f"Largest batch of images.  [default: from the trial, see above; else {Serving.image_batch}]",
)  # fmt: skip
@click.option(
    "--text-batch", type=click.IntRange(1), default=Serving.text_batch, show_default=True,
    help="Largest batch of texts.",
)  # fmt: skip
@click.option(
    "--queue-delay-us", type=click.IntRange(0), default=Serving.queue_delay_us, show_default=True,
    help="Longest time that a request waits for others to join its batch, in microseconds.",
)  # fmt: skip
@click.option(
    "--instances", type=click.IntRange(1),
    help="Number of instances of each tower, on each device.  "
    f"[default: from the trial, see above; else {Serving.instances}]",
)  # fmt: skip
@click.option(
    "--threads", metavar="INTEGER", callback=lambda context, option, value: threads_of(value),
    help="Threads of each instance of the Python backend; 0 = an equal share of the granted cores.  "
    f"[default: {Serving.threads}]",
)  # fmt: skip
@click.option(
    "--text-length", type=click.Choice(["auto", "fixed"]), default="auto", show_default=True,
    help="auto: encode each text at its own length if that does not change its embedding; "
    "fixed: always encode the full length.",
)  # fmt: skip
@click.option(
    "--require-weights", is_flag=True, help="Refuse random weights."
)  # fmt: skip
@click.option(
    "--reuse", is_flag=True,
    help="Do nothing if the repository has the same export already: of the same options, files, packages and "
    "processor.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Seed of random weights.")
@click.option(
    "--licenses", default="", metavar="NAME,…",
    help="Licenses of weights that are accepted, as on the Hugging Face hub (apache-2.0,mit); weights of "
    "other and of unknown licenses are refused.  [default: all]",
)  # fmt: skip
@click.option(
    "--license", default="", metavar="NAME",
    help="License of the weights, if it is not known: of a file, or of a folder whose README.md names none.",
)  # fmt: skip
@click.option(
    "--matryoshka-dims", metavar="INTEGER,…", default="",
    callback=lambda context, option, value: dims_of_text(value),
    help="Numbers of dimensions that the model was trained for (Matryoshka representation learning), such as "
    "64,128,256. Callers get these many first dimensions without allowing truncation.  [default: none]",
)  # fmt: skip
@click.option(
    "--list", "list_", is_flag=True,
    help="Print all weights that open_clip publishes with their licenses, and which can be exported, and "
    "exit.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def main(
    model: str | None,
    name: str,
    out: Path | None,
    activation: str | None,
    device: str | None,
    licenses: str,
    text_length: str,
    reuse: bool,
    list_: bool,
    as_json: bool,
    **others: Any,
) -> None:
    """Writes an open_clip model into a Triton model repository, as NAME_image and NAME_text.

    Each of the two is a TorchScript file with its configuration. Both are compared with open_clip for several
    batch sizes and text lengths. If they differ, nothing is written and the repository stays as it was. If
    the name is already served, the export adds a new version; the old version serves until the new one is
    ready. Beside the two, NAME.golden.npz has what open_clip makes of pictures and texts: `clipserve verify`
    and `clipserve-gateway verify` compare a running service with it.

    A model with a tokenizer of Hugging Face gets a third one, NAME_tokenizer, from which gateways take the
    tokenizer. Its token ids are compared with open_clip's on thousands of texts.

    With --format python on a CPU, a short trial on this machine chooses --instances and --image-batch, and
    prints its measurements. Export on the machine that serves. There is no trial if --instances, --threads or
    --image-batch is given, or with --precision fp16.
    """
    begin = time.monotonic()
    if as_json and not list_:
        raise click.UsageError("--json is the form of --list; add --list")
    if not list_ and model is None:
        raise click.UsageError("Missing option '--model'.")
    if not list_ and out is None:
        raise click.UsageError("Missing option '--out'.")
    from clipserve_exporter.report import Report

    # Before torch is imported: OpenMP threads that spin while they wait take CPU time from other threads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # open_clip and the hub's client log at length what our own messages say briefly.
    logging.disable(logging.CRITICAL)
    if list_ or model is None or out is None:
        print_list(as_json)
        return
    name = name or default_name(model)
    options = click.get_current_context().params
    key = export_key({option: value for option, value in options.items() if option not in ("reuse", "out")})
    if reuse and is_exported(out, name, key):
        click.echo(f"✓ {name}: {out} has this export already", err=True)
        return
    report = Report()
    try:
        with stoppable(), report:
            report.begin("import torch and open_clip")
            from clipserve_exporter.export import Order, export

            serving = {option: others.pop(option) for option in SERVING}
            typed = {option: value for option, value in serving.items() if value is not None}
            order = Order(
                model=model,
                name=name,
                out=out,
                activation=activation or "",
                device=device or "",
                licenses=tuple(licenses.split(",")),
                fixed_text=text_length == "fixed",
                serving=Serving(**typed, kind=KINDS[device]),
                trial=others["format"] == "python"
                and others["precision"] != "fp16"
                and typed.keys().isdisjoint(CHOSEN_BY_TRIAL)
                and (device or device_here()) == "cpu",
                **others,
            )
            exported = export(order, report.begin, report.compared, report.measured)
    except ExportError as error:
        raise click.ClickException(str(error)) from error
    record_export(out, name, key)
    report.finish(exported, time.monotonic() - begin)


def dims_of_text(value: str) -> tuple[int, ...]:
    """Parses the option --matryoshka-dims."""
    words = [word.strip() for word in value.split(",")] if value else []
    if not all(word.isdecimal() and word.isascii() and 0 < len(word) < 7 for word in words):
        raise click.BadParameter(f"{value!r} is not whole numbers with commas between, such as 64,128")
    return tuple(map(int, words))


def threads_of(value: str | None) -> int | None:
    """Parses the option --threads. `split` is the name that 0 had until this release."""
    if value is None:
        return None
    if value == "split":
        click.echo("Warning: --threads split is deprecated; use --threads 0.", err=True)
        return 0
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is not an integer of at least 0")
    return int(value)


def default_name(model: str) -> str:
    """Derives a model name from --model: its last part, in lower case, other characters replaced by `-`."""
    last = re.split(r"[:/]", model.rstrip("/"))[-1]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower())[:64].strip("-._") or "model"
