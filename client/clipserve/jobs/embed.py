"""Embed lists of images or texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from clipserve.errors import Unimplemented
from clipserve.jobs.base import Job, OnError, StreamMethod
from clipserve.jobs.inputs import read_image, read_text
from clipserve.messages.requests import Capacity, Chunk, check_list, item_bytes, rebaser, request_capacity
from clipserve.safe_text import quoted
from clipserve.types import EMBEDDING_DTYPES, EmbeddingFormat, EmbedResult, ServerInfo, check_format
from clipserve.v1 import clip_pb2
from clipserve.wire.embeddings import FORMATS, read_row, row_bytes, row_width
from clipserve.wire.status import read_item

ANSWER_OVERHEAD = 2048
"""Bytes of an item in a response besides its embedding, at most."""


@dataclass(frozen=True)
class EmbedOptions:
    """The model and the form of embeddings, as in `Client.embed_images`. Raises ValueError."""

    model: str
    normalize: bool
    format: EmbeddingFormat
    dimensions: int | None
    allow_truncation: bool

    def __post_init__(self) -> None:
        check_format(self.format)
        if self.dimensions is not None and self.dimensions < 1:
            raise ValueError(f"dimensions is {self.dimensions}; it must be at least 1")


class EmbedJob(Job[EmbedResult]):
    """Embeds images or texts."""

    method = "Embed"
    stream = StreamMethod("EmbedStream", clip_pb2.EmbedStreamRequest)

    def __init__(
        self,
        kind: Literal["images", "texts"],
        options: EmbedOptions,
        on_error: OnError,
        items: Iterable[Any],
    ) -> None:
        if kind not in ("images", "texts"):
            raise ValueError(f"kind is 'images' or 'texts', not {quoted(kind)}")
        check_list(items, kind, "images" if kind == "images" else "str")
        super().__init__(kind, items, on_error)
        self._embeds_images = kind == "images"
        self._options = options
        self._dim = 0
        self._rows: list[tuple[int, npt.NDArray[Any]]] = []
        self._truncated: list[int] = []
        self._tokens: dict[int, int] = {}

    def capacity(self, info: ServerInfo, batch_size: int) -> Capacity:
        """A response has one embedding per item."""
        name = self._options.model or info.default_model
        model_dim = next((model.ref.embed_dim for model in info.models if model.name == name), 0)
        self._dim = self._options.dimensions or model_dim
        largest = max((model.ref.embed_dim for model in info.models), default=0)
        answer_bytes = row_bytes(self._options.dimensions or largest, self._options.format) + ANSWER_OVERHEAD
        return request_capacity(info.limits, batch_size, answer_bytes=answer_bytes)

    def write(self, item: Any, info: ServerInfo) -> tuple[Any, int]:
        if self._embeds_images:
            message = clip_pb2.EmbedInput(image=read_image(item, info))
        else:
            message = clip_pb2.EmbedInput(text=read_text(item, info))
            self._texts.add(f"texts[{self.total - 1}]", item)
        return message, item_bytes(message)

    def request(self, values: Sequence[Any]) -> clip_pb2.EmbedRequest:
        return clip_pb2.EmbedRequest(
            model=self._options.model,
            inputs=values,
            raw=not self._options.normalize,
            format=FORMATS[self._options.format],
            dimensions=self._options.dimensions or 0,
            allow_truncation=self._options.allow_truncation,
        )

    def add_response(self, chunk: Chunk, response: clip_pb2.EmbedResponse) -> None:
        # Servers without the feature give all dimensions, and tell none.
        model = self._check_model(response.model)
        self._dim = response.dimensions or model.embed_dim
        if self._dim != (self._options.dimensions or self._dim):
            raise Unimplemented(
                f"the server gives {self._dim} dimensions instead of {self._options.dimensions}; it is older "
                "than the parameter `dimensions`"
            )
        rebase = rebaser(self.name, chunk.positions)
        for position, result in zip(chunk.positions, response.results, strict=True):
            error = read_item(result.status, rebase)
            if error is not None:
                self.errors[position] = error
                continue
            self._rows.append((position, read_row(result.embedding, self._options.format, self._dim)))
            self._tokens[position] = result.tokens
            if result.truncated:
                self._truncated.append(position)

    def outcome(self) -> EmbedResult:
        dtype = np.dtype(EMBEDDING_DTYPES[self._options.format])
        failed = np.nan if dtype.kind == "f" else 0
        embeddings = np.full((self.total, row_width(self._dim, self._options.format)), failed, dtype)
        for position, row in self._rows:
            embeddings[position] = row
        return EmbedResult(
            embeddings=embeddings,
            model=self._model,
            normalized=self._options.normalize,
            truncated=tuple(self._truncated),
            errors=dict(sorted(self.errors.items())),
            format=self._options.format,
            tokens=tuple(self._tokens.get(position, 0) for position in range(self.total)),
        )
