"""Requests and responses of Embed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipserve.v1 import clip_pb2, common_pb2

from clipserve_gateway.convert.common import (
    RESPONSE_BYTES,
    RESULT_BYTES,
    check_count,
    check_message_bytes,
    check_text,
    compute_hashes,
    read_each,
    read_image,
    write_model,
)
from clipserve_gateway.convert.embedding import BITS, QUANTIZED, Format, embedding_bytes, write_embedding
from clipserve_gateway.convert.status import item_status
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.inference.dimensions import check_dimensions
from clipserve_gateway.inference.embedder import EmbedOutcome
from clipserve_gateway.types import EncodedImage, Input, Limits, ModelSpec, RawImage

FORMATS = frozenset(common_pb2.EmbeddingFormat.values())


@dataclass(frozen=True)
class EmbedCall:
    """A validated Embed request.

    Attributes:
        dimensions: how many of the first dimensions; 0 means all.
        allow_truncation: whether `dimensions` may be a number that the model was not trained for.
    """

    model: str
    inputs: Sequence[Input]
    normalize: bool
    format: Format
    dimensions: int = 0
    allow_truncation: bool = False


def read_embed(request: clip_pb2.EmbedRequest, limits: Limits) -> EmbedCall:
    """The request; an error replaces an invalid input. Raises InvalidInput for errors of the whole call."""
    check_count(len(request.inputs), limits.max_items_per_call, "inputs")
    check_format(request)

    def read_input(item: clip_pb2.EmbedInput) -> EncodedImage | RawImage | str:
        kind = item.WhichOneof("input")
        if kind == "image":
            return read_image(item.image, "image.")
        if kind == "text":
            check_text(item.text, limits, "text")
            return item.text
        raise InvalidInput("set image or text")

    inputs = read_each(read_input, request.inputs)
    compute_hashes(inputs)
    return EmbedCall(
        model=request.model,
        inputs=inputs,
        normalize=not request.raw,
        format=request.format,
        dimensions=request.dimensions,
        allow_truncation=request.allow_truncation,
    )


def check_format(request: clip_pb2.EmbedRequest) -> None:
    """Raises InvalidInput for a format that this server does not know, or that `raw` does not go with."""
    if request.format not in FORMATS:
        known = ", ".join(common_pb2.EmbeddingFormat.keys()[1:])
        raise InvalidInput(f"format {request.format} is not known; use one of {known}", field="format")
    if request.raw and request.format in QUANTIZED:
        raise InvalidInput(
            f"{plain_name(request.format)} is for normalized embeddings; leave raw (--raw) unset, "
            "or use float32",
            field="raw",
        )


def plain_name(format: Format) -> str:
    """The name of a format without its prefix, as SDK, command and docs have it: `int8`."""
    return common_pb2.EmbeddingFormat.Name(format).removeprefix("EMBEDDING_FORMAT_").lower()


def check_embed_answer(call: EmbedCall, spec: ModelSpec, limits: Limits) -> None:
    """Raises InvalidInput if the model does not have these dimensions or bits.

    Raises LimitExceeded if the response can be too large for a message.
    """
    dim = check_dimensions(spec, call.dimensions, allow_truncation=call.allow_truncation)
    if BITS.get(call.format) == 1 and dim % 8:
        raise InvalidInput(
            f"{plain_name(call.format)} needs a multiple of 8 dimensions, and these embeddings have {dim}; "
            "set dimensions, or use int8 (--format int8)",
            field="format",
        )
    size = RESPONSE_BYTES + len(call.inputs) * (embedding_bytes(dim, call.format) + RESULT_BYTES)
    check_message_bytes(size, limits, "inputs", "Send fewer inputs")


def write_embed(outcome: EmbedOutcome, call: EmbedCall) -> clip_pb2.EmbedResponse:
    """The response, in the order of the request."""
    return clip_pb2.EmbedResponse(
        results=[
            clip_pb2.EmbedResult(
                status=item_status(item.error, input_path(call.inputs[i], i)),
                embedding=None if item.embedding is None else write_embedding(item.embedding, call.format),
                truncated=item.truncated,
                tokens=0 if item.embedding is None else item.tokens,
            )
            for i, item in enumerate(outcome.items)
        ],
        model=write_model(outcome.spec),
        normalized=call.normalize,
        dimensions=min(call.dimensions or outcome.spec.embed_dim, outcome.spec.embed_dim),
    )


def input_path(item: Input, i: int) -> str:
    """Field path of the i-th input's errors; an input that failed validation knows the rest of the path."""
    return f"inputs[{i}].image" if isinstance(item, EncodedImage | RawImage) else f"inputs[{i}]"
