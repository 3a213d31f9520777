"""Embedding lists of images or texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from clipserve.jobs.base import Job, OnError, StreamMethod
from clipserve.jobs.inputs import read_image, read_text
from clipserve.messages.requests import Chunk, Room, check_list, rebaser, room_for, wire_size
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
        self._images = kind == "images"
        self._model_name = model
        self._normalize = normalize
        self._dim = 0
        self._rows: list[tuple[int, Floats]] = []
        self._truncated: list[int] = []

    def room(self, info: ServerInfo, batch_size: int) -> Room:
        """Answers hold one embedding an item."""
        wanted = self._model_name or info.default_model
        self._dim = next((model.ref.embed_dim for model in info.models if model.name == wanted), 0)
        widest = max((model.ref.embed_dim for model in info.models), default=0)
        return room_for(
            max_items=info.limits.max_items_per_call,
            max_message_bytes=info.limits.max_message_bytes,
            answer_bytes=widest * 4 + 2048,
            batch_size=batch_size,
        )

    def write(self, item: Any, info: ServerInfo) -> tuple[Any, int]:
        """One input."""
        if self._images:
            message = clip_pb2.EmbedInput(image=read_image(item, info))
        else:
            message = clip_pb2.EmbedInput(text=read_text(item, info))
            self._texts.see(f"texts[{self.total - 1}]", item)
        return message, wire_size(message)

    def request(self, values: Sequence[Any]) -> clip_pb2.EmbedRequest:
        """An Embed request."""
        return clip_pb2.EmbedRequest(model=self._model_name, inputs=values, raw=not self._normalize)

    def take(self, chunk: Chunk, response: clip_pb2.EmbedResponse) -> None:
        """Notes embeddings and errors."""
        self._dim = self._note_model(response.model).embed_dim
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
        """The embeddings in the order of the items."""
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
