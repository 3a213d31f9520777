"""Checks JSON against the schemas of an OpenAPI document."""

from __future__ import annotations

import copy
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

ROOT = "urn:document"


class Description:
    """The schemas of one document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._sent = Registry().with_resource(ROOT, DRAFT202012.create_resource(document))
        closed = copy.deepcopy(document)
        for schema in closed["components"]["schemas"].values():
            close(schema)
        self._returned = Registry().with_resource(ROOT, DRAFT202012.create_resource(closed))

    def request_errors(self, name: str, body: object) -> list[str]:
        """What is wrong with a body that is sent."""
        return errors(self._sent, name, body)

    def answer_errors(self, name: str, body: object) -> list[str]:
        """What is wrong with an answer; every field must be described."""
        return errors(self._returned, name, body)


def close(schema: Any) -> None:
    """Allows no fields but those described, here and in all schemas inside."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            close(value)
    elif isinstance(schema, list):
        for value in schema:
            close(value)


def errors(registry: Registry, name: str, body: object) -> list[str]:
    schema = {"$ref": f"{ROOT}#/components/schemas/{name}"}
    checker = Draft202012Validator.FORMAT_CHECKER
    validator = Draft202012Validator(schema, registry=registry, format_checker=checker)
    return [f"{error.json_path}: {error.message}"[:500] for error in validator.iter_errors(body)]
