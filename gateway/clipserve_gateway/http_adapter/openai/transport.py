"""Carries the calls of OpenAI's API: their bodies are OpenAI's, and the messages inside are ours."""

from __future__ import annotations

from typing import Any

from clipserve.v1 import clip_pb2
from google.protobuf.message import Message

from clipserve_gateway.calls.runner import Outcome
from clipserve_gateway.convert.status import Code
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.http_adapter.errors import http_status
from clipserve_gateway.http_adapter.json_text import read_json
from clipserve_gateway.http_adapter.openai.embeddings import NOTHING_ASKED, read_embeddings, write_embeddings
from clipserve_gateway.http_adapter.openai.errors import openai_error
from clipserve_gateway.http_adapter.openai.models import write_models, write_one_model
from clipserve_gateway.http_adapter.transport import JsonTransport

QUICKER = 16
"""Embeddings are written at least so many times as fast as other JSON: 100 kB take 1 ms."""


class OpenAITransport(JsonTransport):
    """What the paths have in common: the errors."""

    def failure(self, outcome: Outcome) -> tuple[int, bytes]:
        """See HttpTransport."""
        code, failure = Code[outcome.code], outcome.failure
        param = self.param(failure.field) if failure else ""
        return http_status(code, failure), openai_error(code, failure, param)

    def param(self, field: str) -> str:
        """The place in the body of a request's field."""
        return field


class EmbeddingsTransport(OpenAITransport):
    """`POST /v1/embeddings` as Embed."""

    asked = NOTHING_ASKED

    def read(self, kind: type[Any], data: bytes) -> Any:
        """See JsonTransport."""
        body = read_json(data)
        if not isinstance(body, dict):
            raise InvalidInput("the body must be a JSON object with model and input")
        request, self.asked = read_embeddings(body, self.limits)
        return request

    async def encode(self, answer: Message | bytes) -> bytes:
        """See Transport."""
        assert isinstance(answer, clip_pb2.EmbedResponse)
        return await self.thread.run(answer.ByteSize() // QUICKER, lambda: self.write(answer))

    def write(self, answer: Message | bytes) -> bytes:
        """See JsonTransport."""
        assert isinstance(answer, clip_pb2.EmbedResponse)
        return write_embeddings(answer, self.asked, self.limits)

    def param(self, field: str) -> str:
        """See OpenAITransport."""
        return self.asked.param(field)


class ModelsTransport(OpenAITransport):
    """`GET /v1/models` and `GET /v1/models/NAME` as GetServerInfo."""

    def __init__(self, *parts: Any, name: str = "") -> None:
        """`parts` are those of HttpTransport. Without a name, the answer has all models."""
        super().__init__(*parts)
        self._name = name

    def read(self, kind: type[Any], data: bytes) -> Any:
        """See JsonTransport."""
        if data:
            raise InvalidInput("a GET has no body; send it without one")
        return clip_pb2.GetServerInfoRequest()

    def write(self, answer: Message | bytes) -> bytes:
        """See JsonTransport."""
        assert isinstance(answer, clip_pb2.GetServerInfoResponse)
        return write_one_model(answer, self._name) if self._name else write_models(answer)
