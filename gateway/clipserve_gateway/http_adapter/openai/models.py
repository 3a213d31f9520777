"""GetServerInfoResponse → OpenAI's list of models, and one model of it."""

from __future__ import annotations

from typing import Any

import orjson
from clipserve.v1 import clip_pb2

from clipserve_gateway.errors import ModelNotFound
from clipserve_gateway.http_adapter.openai.inputs import named


def write_models(info: clip_pb2.GetServerInfoResponse) -> bytes:
    """All models that the caller may use, sorted by name."""
    return orjson.dumps({"object": "list", "data": [write_model(model, info) for model in info.models]})


def write_one_model(info: clip_pb2.GetServerInfoResponse, name: str) -> bytes:
    """The model of that name. Raises ModelNotFound."""
    for model in info.models:
        if model.ref.name == name:
            return orjson.dumps(write_model(model, info))
    raise ModelNotFound(f"there is no model {named([name])}; GET /v1/models lists all", field="model")


def write_model(model: clip_pb2.ModelInfo, info: clip_pb2.GetServerInfoResponse) -> dict[str, Any]:
    """OpenAI's four fields, and what a caller of embeddings needs to know beside them."""
    return {
        "id": model.ref.name,
        "object": "model",
        # Nothing records when a model was made.
        "created": 0,
        "owned_by": "clipserve",
        "ready": model.ready,
        "default": model.ref.name == info.default_model,
        "embed_dim": model.ref.embed_dim,
        "matryoshka_dims": list(model.matryoshka_dims),
        "context_length": model.context_length,
        "architecture": model.architecture,
        "pretrained": model.pretrained,
        "fingerprint": model.ref.fingerprint,
        "license": model.license,
    }
