"""The export from end to end: load, make the graphs, compare them with open_clip, write."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from clipserve_exporter import parity
from clipserve_exporter.canary import make_canary
from clipserve_exporter.config import (
    TOKENIZER,
    ModelFacts,
    Serving,
    check_name,
    render,
    render_tokenizer,
)
from clipserve_exporter.errors import ExportError
from clipserve_exporter.fingerprint import fingerprint
from clipserve_exporter.golden import golden_bytes, write_golden
from clipserve_exporter.precision import (
    AUTO,
    MIN_COSINE,
    Choice,
    choose,
    device_here,
    instead,
    processor_flags,
    warnings_of,
)
from clipserve_exporter.repository import TowerFiles, write
from clipserve_exporter.source import Source, known_license, load
from clipserve_exporter.sources.licenses import UNKNOWN, License, chosen, require_allowed
from clipserve_exporter.text_length import TextLength, text_length_of
from clipserve_exporter.text_speed import TextSpeed, measure_text_speed
from clipserve_exporter.torchscript import export_bytes, export_image, export_text
from clipserve_exporter.trial import Measurement, Trial, run_trial
from clipserve_exporter.verification import compare_again, require_parity

STEPS = ("load", "image tower", "text tower", "parity", "canary", "golden", "trial", "write")
"""The trial takes place only if it is requested."""


NO_WEIGHTS = (
    "{} has no weights: name them with --pretrained TAG or FILE (`clipserve-export --list` shows the tags), "
    "or accept random ones, whose embeddings are meaningless (`clipserve-gateway up --random`)"
)


@dataclass(frozen=True)
class Order:
    """What to export, and how."""

    model: str
    pretrained: str
    name: str
    precision: str
    """`fp32`, `bf16`, `fp16`, or `auto`: see clipserve_exporter.precision."""
    format: str
    out: Path
    seed: int
    serving: Serving
    fixed_text: bool = False
    """Whether to encode every text at the full length, even if its own length would give the same result."""
    activation: str = ""
    """`quickgelu` or `gelu`: what the weights were trained with; empty where they tell it."""
    require_weights: bool = False
    """Whether random weights are refused."""
    licenses: tuple[str, ...] = ()
    """Accepted licenses of the weights; empty accepts all."""
    license: str = ""
    """License of the weights, if the user says it."""
    trial: bool = False
    """Whether a trial on this machine chooses the number of instances and the batch of images."""
    tokenizer: Path | None = None
    """Folder with the files of the tokenizer, if the model does not use OpenAI's."""
    device: str = ""
    """The device that will serve, `cpu` or `cuda`; empty if it is not known. `auto` and warnings then assume
    that of this machine."""
    matryoshka_dims: tuple[int, ...] = ()
    """Numbers of first dimensions that the model was trained to be used by, in any order."""


@dataclass(frozen=True)
class Exported:
    """The result of an export."""

    facts: ModelFacts
    cases: list[parity.Case]
    folders: list[Path]
    random: bool
    """Whether the weights are random, since none were given."""
    golden: Path
    """The file by which a service of this model is verified."""
    text_length: TextLength
    text_speed: TextSpeed | None = None
    """None if every text has the full length, or it was not measured."""
    notes: tuple[str, ...] = ()
    """What was chosen or assumed."""
    warnings: tuple[str, ...] = ()
    """What the user should check."""
    license: License = UNKNOWN
    trial: Trial | None = None
    chosen: Choice | None = None
    """The precision that was chosen, if the order left the choice."""


@dataclass(frozen=True)
class Graphs:
    """Both towers in one precision, and how they compare with open_clip."""

    image: torch.jit.ScriptModule
    text: torch.jit.ScriptModule
    cases: list[parity.Case]

    @property
    def worst(self) -> parity.Case:
        """The comparison with the lowest cosine; one that is NaN comes first."""
        return min(self.cases, key=lambda case: (case.min_cosine == case.min_cosine, case.min_cosine))


def export(
    order: Order,
    step: Callable[[str], None] = lambda name: None,
    on_compared: Callable[[parity.Case], None] = lambda case: None,
    on_measured: Callable[[Measurement], None] = lambda measurement: None,
) -> Exported:
    """Exports a model.

    Raises ExportError; then the repository is unchanged.

    Args:
        order: what to export.
        step: called with each of STEPS when it begins; from "image tower" to "parity" twice if a chosen
            precision gives way to fp32.
        on_compared: called after each comparison with open_clip.
        on_measured: called after each measurement of the trial.
    """
    check_name(order.name)
    step("load")
    license = license_of(order)
    source = load(order.model, order.pretrained, order.seed, order.activation, order.tokenizer)
    if order.require_weights and not source.pretrained:
        raise ExportError(NO_WEIGHTS.format(order.model))
    source = dataclasses.replace(source, license=license)
    dims_of(order.matryoshka_dims, source.embed_dim)
    text_length = text_length_of(source, order.fixed_text)
    graphs, chosen = graphs_of(source, order, text_length.handling, step, on_compared)
    if chosen is not None:
        order = dataclasses.replace(order, precision=chosen.precision, device=order.device or device_here())
    require_parity(graphs.cases, order.precision)
    cases, blind = compare_again(source, graphs.cases, order.precision, text_length.handling, on_compared)
    text_speed = None
    # fp16 is for GPUs, and very slow here.
    if text_length.handling != "fixed" and order.precision != "fp16":
        text_speed = measure_text_speed(source, graphs.text)
    step("canary")
    facts = facts_of(source, order, text_length)
    step("golden")
    golden = golden_bytes(source, facts)
    trial = None
    if order.trial:
        step("trial")
        trial = run_trial(facts, graphs.image, graphs.text, order.serving, on_measured)
    serving = trial.serving if trial else order.serving
    step("write")
    python = order.format == "python"
    models = {
        f"{order.name}_{tower}": TowerFiles(render(facts, serving, tower), graph, python)
        for tower, graph in (("image", graphs.image), ("text", graphs.text))
    }
    tokenizer = f"{order.name}_{TOKENIZER}"
    if source.bundle:
        models[tokenizer] = TowerFiles(render_tokenizer(facts), export_bytes(source.bundle), python)
    folders = write(order.out, models, obsolete=() if source.bundle else (tokenizer,))
    golden_file = write_golden(order.out, order.name, golden)
    return Exported(
        *(facts, cases, folders, not source.pretrained, golden_file),
        text_length=text_length,
        text_speed=text_speed,
        notes=source.notes,
        warnings=(*source.warnings, *blind, *warnings_of(order.precision, order.device or device_here())),
        license=license,
        trial=trial,
        chosen=chosen,
    )


def license_of(order: Order) -> License:
    """Returns the license of the weights. Raises ExportError if the order does not accept it."""
    known = known_license(order.model, order.pretrained)
    if known is None:
        if order.require_weights:
            raise ExportError(NO_WEIGHTS.format(order.model))
        return UNKNOWN
    license = chosen(known, order.license)
    require_allowed(license, order.licenses, order.pretrained or order.model)
    return license


def graphs_of(
    source: Source,
    order: Order,
    handling: str,
    step: Callable[[str], None],
    on_compared: Callable[[parity.Case], None],
) -> tuple[Graphs, Choice | None]:
    """Makes the graphs in the precision of the order or the chosen one, and compares them with open_clip.

    A chosen precision that is not near enough to open_clip gives way to fp32. `handling`: see text_length.
    """

    def make(precision: str, bound: float = 0.0) -> Graphs:
        """Accepts no smaller cosine than `bound`, nor than the precision's own bound."""
        step("image tower")
        image = export_image(source, precision)
        step("text tower")
        text = export_text(source, precision, handling)
        step("parity")
        cases = []
        for case in itertools.chain(
            parity.image_cases(source, image, precision),
            parity.text_cases(source, text, precision, handling),
        ):
            case = dataclasses.replace(case, bound=max(case.bound, bound))
            on_compared(case)
            cases.append(case)
        return Graphs(image, text, cases)

    if order.precision != AUTO:
        return make(order.precision), None
    choice = choose(order.format, order.device or device_here(), processor_flags())
    graphs = make(choice.precision, MIN_COSINE)
    worst = graphs.worst
    if choice.precision != "fp32" and not worst.good:
        choice = instead(choice, worst.min_cosine, f"{worst.tower} tower, {worst.what}")
        graphs = make(choice.precision)
    return graphs, choice


def facts_of(source: Source, order: Order, text_length: TextLength) -> ModelFacts:
    """Returns the facts that the configurations of a model contain."""
    weights = source.weights_sha256()
    return ModelFacts(
        name=order.name,
        embed_dim=source.embed_dim,
        preprocess=source.preprocess,
        tokenizer=source.tokenizer,
        context_length=source.context_length,
        text_length=text_length.handling,
        logit_scale=source.logit_scale,
        logit_bias=source.logit_bias,
        fingerprint=fingerprint(source, weights),
        precision=order.precision,
        format=order.format,
        device=order.device,
        architecture=source.architecture,
        pretrained=source.pretrained or f"random (seed {order.seed})",
        weights_sha256=weights,
        torch_version=torch.__version__.split("+")[0],
        canary=make_canary(source),
        license=source.license.name,
        matryoshka_dims=dims_of(order.matryoshka_dims, source.embed_dim),
    )


def dims_of(dims: Sequence[int], embed_dim: int) -> tuple[int, ...]:
    """Returns the numbers in ascending order, without `embed_dim` itself. Raises ExportError."""
    wrong = [dim for dim in dims if not 1 <= dim <= embed_dim]
    if wrong:
        raise ExportError(
            f"--matryoshka-dims has {wrong[0]}; the embeddings of this model have {embed_dim} dimensions"
        )
    return tuple(sorted({*dims} - {embed_dim}))
