"""Embed lists of images or texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from clipserve.jobs.base import Job, OnError, StreamMethod
from clipserve.jobs.inputs import read_image, read_text
from clipserve.messages.requests import Capacity, Chunk, check_list, item_bytes, rebaser, request_capacity
from clipserve.safe_text import quoted
from clipserve.types import EmbedResult, Floats, ServerInfo
from clipserve.v1 import clip_pb2
from clipserve.wire.payload import read_embedding
from clipserve.wire.status import read_item


class EmbedJob(Job[EmbedResult]):
    """Embeds images or texts."""

    method = "Embed"
    stream = StreamMethod("EmbedStream", clip_pb2.EmbedStreamRequest)

    def __init__(
        self,
        kind: Literal["images", "texts"],
        items: Iterable[Any],
        *,
        model: str = "",
        normalize: bool = True,
        on_error: OnError = "raise",
    ) -> None:
        if kind not in ("images", "texts"):
            raise ValueError(f"kind is 'images' or 'texts', not {quoted(kind)}")
        check_list(items, kind, "images" if kind == "images" else "str")
        super().__init__(kind, items, on_error)
        self._embeds_images = kind == "images"
        self._model_name = model
        self._normalize = normalize
        self._dim = 0
        self._rows: list[tuple[int, Floats]] = []
        self._truncated: list[int] = []

    def capacity(self, info: ServerInfo, batch_size: int) -> Capacity:
        """A response has one embedding per item."""
        name = self._model_name or info.default_model
        self._dim = next((model.ref.embed_dim for model in info.models if model.name == name), 0)
        max_dim = max((model.ref.embed_dim for model in info.models), default=0)
        return request_capacity(info.limits, batch_size, answer_bytes=max_dim * 4 + 2048)

    def write(self, item: Any, info: ServerInfo) -> tuple[Any, int]:
        if self._embeds_images:
            message = clip_pb2.EmbedInput(image=read_image(item, info))
        else:
            message = clip_pb2.EmbedInput(text=read_text(item, info))
            self._texts.add(f"texts[{self.total - 1}]", item)
        return message, item_bytes(message)

    def request(self, values: Sequence[Any]) -> clip_pb2.EmbedRequest:
        return clip_pb2.EmbedRequest(model=self._model_name, inputs=values, raw=not self._normalize)

    def add_response(self, chunk: Chunk, response: clip_pb2.EmbedResponse) -> None:
        self._dim = self._check_model(response.model).embed_dim
        rebase = rebaser(self.name, chunk.positions)
        for position, result in zip(chunk.positions, response.results, strict=True):
            error = read_item(result.status, rebase)
            if error is not None:
                self.errors[position] = error
                continue
            self._rows.append((position, read_embedding(result.embedding)))
            if result.truncated:
                self._truncated.append(position)

    def outcome(self) -> EmbedResult:
        embeddings = np.full((self.total, self._dim), np.nan, np.float32)
        for position, row in self._rows:
            embeddings[position] = row
        return EmbedResult(
            embeddings=embeddings,
            model=self._model,
            normalized=self._normalize,
            truncated=tuple(self._truncated),
            errors=dict(sorted(self.errors.items())),
        )
