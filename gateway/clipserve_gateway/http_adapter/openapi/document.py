"""The OpenAPI 3.1 description of the API."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

import clipserve_gateway
from clipserve_gateway.calls.method import Method
from clipserve_gateway.http_adapter.openapi import openai_paths, parts
from clipserve_gateway.http_adapter.openapi.comments import comment
from clipserve_gateway.http_adapter.openapi.examples import EXAMPLES
from clipserve_gateway.http_adapter.openapi.schemas import Schema, schemas
from clipserve_gateway.types import Limits

DESCRIPTION = """Classify, embed and search images with a CLIP model.

Every method of the gRPC API that has no streams is a POST with a JSON object, in the form of the Connect
protocol. Names of fields are in lowerCamelCase: the descriptions use the names of the protos, and
`Limits.max_text_bytes` is `maxTextBytes` in JSON. Requests may use either name.

Bytes are base64. 64-bit integers are texts in answers; requests may also use numbers. Null means that a field
is not set. An unknown field is an error.

A body has at most `Limits.max_json_bytes`, and may be compressed with gzip (`content-encoding: gzip`). With
`content-type: application/proto`, request and answer are messages in protobuf's encoding.

The limits of this server are in `x-limits` of this document.
"""


def document(methods: Sequence[Method], limits: Limits, *, tokens: bool) -> dict[str, Any]:
    """The description.

    Args:
        methods: all methods of the API; those with streams are left out.
        limits: what this server publishes.
        tokens: whether calls need a token.
    """
    unary = [descriptor_of(method) for method in methods if not method.streaming]
    services = dict.fromkeys(method.containing_service for method in unary)
    components: dict[str, Any] = {
        "schemas": schemas_of(unary) | parts.SCHEMAS | openai_paths.SCHEMAS,
        "parameters": {
            name: {"name": name, "in": "header", **each} for name, each in parts.PARAMETERS.items()
        },
        "headers": parts.HEADERS,
        "responses": parts.error_answers("Error") | parts.error_answers("OpenAIError"),
    }
    if tokens:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clipserve",
            "version": clipserve_gateway.__version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [*map(tag, services), openai_paths.TAG],
        "security": [{"token": []}] if tokens else [],
        "paths": {path_of(method): {"post": operation(method)} for method in unary} | openai_paths.PATHS,
        "components": components,
        "x-limits": dataclasses.asdict(limits),
    }


def descriptor_of(method: Method) -> MethodDescriptor:
    """The method's descriptor."""
    return descriptor_pool.Default().FindMethodByName(method.path.strip("/").replace("/", "."))


def path_of(method: MethodDescriptor) -> str:
    """The path of its URL."""
    return f"/{method.containing_service.full_name}/{method.name}"


def schemas_of(methods: Sequence[MethodDescriptor]) -> dict[str, Schema]:
    """The schemas of all messages of these methods."""
    return schemas([each.input_type for each in methods], [each.output_type for each in methods])


def tag(service: ServiceDescriptor) -> dict[str, str]:
    """A group of methods."""
    return {"name": service.name, "description": comment(service.full_name)}


def operation(method: MethodDescriptor) -> dict[str, Any]:
    """One method."""
    text = comment(method.full_name)
    body = {"schema": parts.reference(method.input_type.name)}
    if method.name in EXAMPLES:
        body["example"] = EXAMPLES[method.name]
    return {
        "operationId": f"{method.containing_service.name}_{method.name}",
        "summary": text.partition(". ")[0].rstrip("."),
        "description": text,
        "tags": [method.containing_service.name],
        "parameters": parts.parameters(),
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": parts.answer(comment(method.output_type.full_name), method.output_type.name),
            **parts.errors("Error"),
        },
    }
