"""Renders a tower's config.pbtxt. Does not need torch, so that tests and tools can render it anywhere.

The gateway knows a model only by these parameters: Triton is the source of truth about models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import Preprocess
from clipserve_exporter.tokenizer_facts import TokenizerFacts

SCHEMA = "2"
"""Form of the parameters. Schema 1 had square images, one preprocessing and one tokenizer."""
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TOWER_SUFFIXES = ("_image", "_text", "_tokenizer")
"""Endings of the names of a model's Triton models."""
TOKENIZER = "tokenizer"
"""The parameter `tower` of the Triton model that returns the tokenizer."""
SHORT_TEXT = 16
"""Number of tokens of a typical prompt, for the warmup."""


@dataclass(frozen=True)
class Canary:
    """An input of each kind with its embedding by open_clip in float32, before L2 normalization."""

    image_png: str
    """Base64. The gateway preprocesses it like any other image."""
    image_embedding: str
    """Base64 of float32 little-endian [D]."""
    text: str
    text_embedding: str
    text_ids: str = ""
    """Token ids of the text, separated by spaces; empty for `openai_bpe`.

    With them, a model is checked without its tokenizer.
    """


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a model that the configurations of both towers contain."""

    name: str
    embed_dim: int
    preprocess: Preprocess
    tokenizer: TokenizerFacts
    context_length: int
    text_length: str
    """`ragged`, `masked` or `fixed`: see text_length."""
    logit_scale: float
    """The factor itself, not its logarithm."""
    logit_bias: float | None
    fingerprint: str
    precision: str
    format: str
    """`libtorch` or `python`."""
    architecture: str
    pretrained: str
    weights_sha256: str
    torch_version: str
    canary: Canary
    license: str = ""
    """License of the weights; empty if it is not known."""
    device: str = ""
    """The device that the export is for, `cpu` or `cuda`; empty if it is not known."""
    matryoshka_dims: tuple[int, ...] = ()
    """Numbers of first dimensions that the model was trained to be used by, ascending, below embed_dim."""


@dataclass(frozen=True)
class Serving:
    """How Triton runs the towers."""

    image_batch: int = 32
    """Largest number of images in a batch."""
    text_batch: int = 64
    queue_delay_us: int = 1000
    """Longest time that a request waits for others to join its batch, in microseconds."""
    instances: int = 1
    threads: int = 0
    """Threads of each instance of the Python backend; 0 = an equal share of the granted cores."""
    image_bulk_batch: int = 0
    """Largest batch of bulk work on a CPU while there is interactive work; 0 = not measured."""
    text_bulk_batch: int = 0
    kind: str = "KIND_AUTO"
    """Where Triton runs the instances: KIND_CPU, KIND_GPU, or KIND_AUTO for a GPU if there is one."""


def render(facts: ModelFacts, serving: Serving, tower: str) -> str:
    """Renders the config.pbtxt of one tower, `image` or `text`. The version is added when it is written."""
    batch = serving.image_batch if tower == "image" else serving.text_batch
    sections = [
        f'name: "{facts.name}_{tower}"',
        backend(facts.format),
        f"max_batch_size: {batch}",
        tensors(facts, tower),
        batching(serving),
        f"instance_group {{ count: {serving.instances} kind: {serving.kind} }}",
        *(warmup(facts, tower, size, tokens) for size, tokens in warmups(facts, tower, batch)),
        *rendered(parameters(facts, serving, tower)),
    ]
    return "\n".join(sections) + "\n"


def render_tokenizer(facts: ModelFacts) -> str:
    """Renders the config.pbtxt of the Triton model that returns the tokenizer. Without a batch dimension."""
    parameters = {
        "schema": SCHEMA,
        "model": facts.name,
        "tower": TOKENIZER,
        "tokenizer_sha256": facts.tokenizer.sha256,
    }
    sections = [
        f'name: "{facts.name}_{TOKENIZER}"',
        backend(facts.format),
        "max_batch_size: 0",
        'input { name: "INPUT__0" data_type: TYPE_UINT8 dims: [ 1 ] }',
        'output { name: "OUTPUT__0" data_type: TYPE_UINT8 dims: [ -1 ] }',
        "instance_group { count: 1 kind: KIND_CPU }",
        *rendered(parameters),
    ]
    return "\n".join(sections) + "\n"


def backend(format_: str) -> str:
    """Renders which of Triton's backends runs the file."""
    return 'platform: "pytorch_libtorch"' if format_ == "libtorch" else 'backend: "python"'


def rendered(parameters: Mapping[str, str]) -> list[str]:
    """Renders parameters."""
    return [
        f"parameters {{ key: {quoted(key)} value {{ string_value: {quoted(value)} }} }}"
        for key, value in parameters.items()
    ]


def tensors(facts: ModelFacts, tower: str) -> str:
    """Renders inputs and outputs. For ragged texts Triton passes all tokens and the lengths."""
    if tower == "image":
        dims = dims_of(facts.preprocess)
        source = f'input {{ name: "INPUT__0" data_type: TYPE_UINT8 dims: {dims} }}'
    elif facts.text_length == "fixed":
        source = f'input {{ name: "INPUT__0" data_type: TYPE_INT32 dims: [ {facts.context_length} ] }}'
    else:
        source = (
            'input { name: "INPUT__0" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true }\n'
            "batch_input {\n"
            "  kind: BATCH_ITEM_SHAPE\n"
            '  target_name: "INPUT__1"\n'
            "  data_type: TYPE_FP32\n"
            '  source_input: "INPUT__0"\n'
            "}"
        )
    return f'{source}\noutput {{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ {facts.embed_dim} ] }}'


def dims_of(preprocess: Preprocess) -> str:
    """Renders the shape of one image."""
    return f"[ {', '.join(map(str, preprocess.shape))} ]"


def batching(serving: Serving) -> str:
    """Renders dynamic batching without a queue policy.

    With a queue policy, Triton 2.51 gathers no batch while another batch runs, and notices some requests only
    after 0.5 s: up to 6 of 100 single calls on a GPU, 2 of 100 on a CPU. The gateway limits the queue
    instead: it sends a few batches at a time, and cancels calls whose deadline has passed.
    """
    return f"dynamic_batching {{ max_queue_delay_microseconds: {serving.queue_delay_us} }}"


def warmups(facts: ModelFacts, tower: str, batch: int) -> list[tuple[int, int]]:
    """Returns pairs of batch size and tokens per text to run before the model is ready, the largest last.

    In fp16, which is for GPUs, all sizes are run: the first batch of a size may take cuDNN over a second.
    """
    some = range(1, batch + 1) if facts.precision == "fp16" else (1, 4, 16, batch)
    sizes = sorted({min(size, batch) for size in some})
    if tower == "image" or facts.text_length == "fixed":
        return [(size, facts.context_length) for size in sizes]
    short = min(SHORT_TEXT, facts.context_length)
    return [*((size, short) for size in sizes), (1, facts.context_length)]


def warmup(facts: ModelFacts, tower: str, size: int, tokens: int) -> str:
    """Renders one warmup, which runs twice: TorchScript optimizes a graph after its first runs.

    A text of zeros contains no end token or is padding alone, so it is encoded at its full length.
    """
    if tower == "image":
        dims = dims_of(facts.preprocess)
        name, value = f"images-{size}", f"data_type: TYPE_UINT8 dims: {dims} zero_data: true"
    else:
        name, value = f"texts-{size}x{tokens}", f"data_type: TYPE_INT32 dims: [ {tokens} ] zero_data: true"
    return (
        "model_warmup {\n"
        f'  name: "{name}"\n'
        f"  batch_size: {size}\n"
        "  count: 2\n"
        f'  inputs {{ key: "INPUT__0" value {{ {value} }} }}\n'
        "}"
    )


def parameters(facts: ModelFacts, serving: Serving, tower: str) -> dict[str, str]:
    """Returns the parameters that the gateway and the Python backend read, as strings."""
    values = {
        "schema": SCHEMA,
        "model": facts.name,
        "tower": tower,
        "architecture": facts.architecture,
        "pretrained": facts.pretrained,
        "precision": facts.precision,
        "format": facts.format,
        "embed_dim": str(facts.embed_dim),
        "image_height": str(facts.preprocess.height),
        "image_width": str(facts.preprocess.width),
        "resize": facts.preprocess.resize,
        "interpolation": facts.preprocess.interpolation,
        "crop": "center",
        "fill": str(facts.preprocess.fill),
        "mean": " ".join(map(repr, facts.preprocess.mean)),
        "std": " ".join(map(repr, facts.preprocess.std)),
        "context_length": str(facts.context_length),
        **facts.tokenizer.parameters(),
        "text_length": facts.text_length,
        "logit_scale": repr(facts.logit_scale),
    }
    if facts.license:
        values["license"] = facts.license
    if facts.device:
        values["device"] = facts.device
    if facts.matryoshka_dims:
        values["matryoshka_dims"] = " ".join(map(str, facts.matryoshka_dims))
    if facts.logit_bias is not None:
        values["logit_bias"] = repr(facts.logit_bias)
    if facts.canary.text_ids:
        values["canary_text_ids"] = facts.canary.text_ids
    if facts.format == "python":
        # Gateways of earlier releases take 0 to mean that all instances share all cores.
        values["threads"] = str(serving.threads or "split")
        bulk_batch = serving.image_bulk_batch if tower == "image" else serving.text_bulk_batch
        if bulk_batch:
            values["bulk_batch"] = str(bulk_batch)
    return values | {
        "fingerprint": facts.fingerprint,
        "weights_sha256": facts.weights_sha256,
        "torch_version": facts.torch_version,
        "canary_image_png": facts.canary.image_png,
        "canary_image_embedding": facts.canary.image_embedding,
        "canary_text": facts.canary.text,
        "canary_text_embedding": facts.canary.text_embedding,
    }


def quoted(text: str) -> str:
    """Quotes a string for protobuf's text format."""
    return json.dumps(text, ensure_ascii=False)


def check_name(name: str) -> None:
    """Raises ExportError if `name` is not a valid model name."""
    if not MODEL_NAME.fullmatch(name):
        raise ExportError(
            f"{name!r} is not a valid model name: use 1 to 64 letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    if name.endswith(TOWER_SUFFIXES):
        raise ExportError(
            f"{name!r} is not a valid model name: names that end in {' or '.join(TOWER_SUFFIXES)} are "
            "reserved for the parts of a model; choose another name with --name"
        )
