"""The paths of the OpenAI-compatible API, whose bodies are no messages of the protos."""

from __future__ import annotations

from typing import Any

from clipserve_gateway.http_adapter.openapi.examples import PICTURE
from clipserve_gateway.http_adapter.openapi.parts import answer, errors, parameters, reference
from clipserve_gateway.http_adapter.openapi.schemas import Schema

TAG = {
    "name": "OpenAI",
    "description": "The embeddings API of OpenAI, for programs that use it. Null means the same as no field.",
}
IMAGE = "A picture as `data:image/…;base64,…`. The server fetches nothing from other URLs."


def texts(*values: str) -> Schema:
    """A text that is one of these."""
    return {"type": "string", "enum": list(values)}


def fields(required: dict[str, Schema], optional: dict[str, Schema] | None = None, **more: Any) -> Schema:
    """An object with these fields."""
    return {"type": "object", "required": list(required), "properties": required | (optional or {}), **more}


def exact(required: dict[str, Schema], optional: dict[str, Schema] | None = None, **more: Any) -> Schema:
    """An object with these fields and no others."""
    return fields(required, optional, additionalProperties=False, **more)


STRING, INTEGER, BOOLEAN = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
URL = {"oneOf": [STRING, exact({"url": STRING}, {"detail": STRING})], "description": IMAGE}
PART = {
    "oneOf": [
        exact({"type": texts("text"), "text": STRING}),
        exact({"type": texts("image_url"), "image_url": URL}),
    ]
}
CONTENT = {"oneOf": [STRING, {"type": "array", "items": PART}]}

SCHEMAS: dict[str, Schema] = {
    "OpenAIEmbeddingsRequest": exact(
        {"model": {"type": "string", "description": "A name that `GET /v1/models` lists."}},
        {
            "input": {
                "description": "What to embed, at most `Limits.max_items_per_call` in a list.",
                "oneOf": [
                    reference("OpenAIInput"),
                    {"type": "array", "minItems": 1, "items": reference("OpenAIInput")},
                ],
            },
            "messages": {
                "type": "array",
                "description": "Instead of `input`: chat messages that have one part in all.",
                "items": exact({"content": CONTENT}, {"role": STRING, "name": STRING}),
            },
            "encoding_format": {
                **texts("float", "base64"),
                "description": "`base64` is little-endian float32.",
                "default": "float",
            },
            "dimensions": {
                "type": "integer",
                "minimum": 1,
                "description": "The first numbers of each embedding, normalized again. Only for models that "
                "were trained for it, or with `allow_truncation`.",
            },
            "allow_truncation": {**BOOLEAN, "description": "Allows any number of `dimensions`."},
            "normalized": {**BOOLEAN, "default": True, "description": "False: the output of the model."},
            "truncate": {
                "enum": [True, False, "END", "NONE"],
                "description": "Whether texts that are too long for the model are cut, or fail the call.",
            },
            "user": {**STRING, "description": "Changes nothing."},
            "input_type": {**STRING, "description": "Changes nothing."},
        },
        oneOf=[{"title": "input", "required": ["input"]}, {"title": "messages", "required": ["messages"]}],
        description="What to embed.",
    ),
    "OpenAIInput": {
        "description": "A text or a picture. A string that begins with `data:image/` is a picture.",
        "oneOf": [
            {"title": "string", "type": "string"},
            exact({"text": STRING}, title="text"),
            exact({"image": {**STRING, "description": f"{IMAGE} Or base64 alone."}}, title="image"),
        ],
    },
    "OpenAIEmbeddings": fields(
        {
            "object": texts("list"),
            "data": {"type": "array", "items": reference("OpenAIEmbedding")},
            "model": STRING,
            "usage": fields({"prompt_tokens": INTEGER, "total_tokens": INTEGER}),
        },
        {
            "warnings": {
                "type": "array",
                "items": fields({"code": STRING, "param": STRING, "message": STRING}),
            }
        },
        description="One embedding for each input, in their order.",
    ),
    "OpenAIEmbedding": fields(
        {
            "object": texts("embedding"),
            "index": INTEGER,
            "embedding": {
                "oneOf": [
                    {"type": "array", "items": {"type": "number", "format": "float"}},
                    {"type": "string", "contentEncoding": "base64"},
                ]
            },
        },
        {"truncated": {**BOOLEAN, "description": "The text was too long for the model and was cut."}},
    ),
    "OpenAIModels": fields(
        {"object": texts("list"), "data": {"type": "array", "items": reference("OpenAIModel")}}
    ),
    "OpenAIModel": fields(
        {
            "id": STRING,
            "object": texts("model"),
            "created": {**INTEGER, "description": "Always 0: nothing records it."},
            "owned_by": STRING,
            "ready": BOOLEAN,
            "default": {**BOOLEAN, "description": "Whether other APIs use it if a request names no model."},
            "embed_dim": INTEGER,
            "matryoshka_dims": {"type": "array", "items": INTEGER},
            "context_length": INTEGER,
            "architecture": STRING,
            "pretrained": STRING,
            "fingerprint": STRING,
            "license": STRING,
        }
    ),
    "OpenAIError": fields(
        {
            "error": fields(
                {
                    "message": STRING,
                    "type": STRING,
                    "param": {"type": ["string", "null"], "description": "Path of the bad field."},
                    "code": {**STRING, "description": "The reason in UPPER_SNAKE, e.g. `MODEL_NOT_FOUND`."},
                }
            )
        }
    ),
}
EXAMPLES = {
    "texts and a picture": {
        "value": {
            "model": "demo",
            "input": ["a photo of a cat", {"text": "a dog"}, f"data:image/png;base64,{PICTURE}"],
        }
    },
    "messages": {
        "value": {
            "model": "demo",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
                    ],
                }
            ],
        }
    },
}
MODEL = {"name": "model", "in": "path", "required": True, "description": "Its name.", "schema": STRING}


def operation(name: str, summary: str, schema: str, *, body: Any = None, path: Any = ()) -> dict[str, Any]:
    """One operation, and the schema of its answer."""
    return {
        "operationId": name,
        "summary": summary,
        "tags": [TAG["name"]],
        "parameters": [*path, *parameters()],
        **({"requestBody": {"required": True, "content": {"application/json": body}}} if body else {}),
        "responses": {"200": answer(summary, schema), **errors("OpenAIError")},
    }


PATHS: dict[str, Any] = {
    "/v1/embeddings": {
        "post": operation(
            "createEmbedding",
            "Embeds texts and pictures",
            "OpenAIEmbeddings",
            body={"schema": reference("OpenAIEmbeddingsRequest"), "examples": EXAMPLES},
        )
    },
    "/v1/models": {"get": operation("listModels", "Lists the models", "OpenAIModels")},
    "/v1/models/{model}": {
        "get": operation("retrieveModel", "Returns one model", "OpenAIModel", path=[MODEL])
    },
}
