"""The description is valid OpenAPI 3.1, describes every method, and its examples are valid requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from clipserve_gateway.calls.method import Method
from clipserve_gateway.http_adapter.errors import HTTP_STATUS, OWN_STATUS
from clipserve_gateway.http_adapter.openapi import openai_paths
from clipserve_gateway.http_adapter.openapi.document import document
from clipserve_gateway.http_adapter.openapi.examples import EXAMPLES
from clipserve_gateway.settings import Settings
from openapi_spec_validator import OpenAPIV31SpecValidator

from testing.openapi import Description


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for operation in item.values():
            yield path, operation


def test_it_is_valid_openapi(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []


def test_it_describes_every_method_without_streams(described: dict[str, Any], methods: list[Method]) -> None:
    unary = {method.path for method in methods if not method.streaming}
    assert unary < {method.path for method in methods}
    assert {path for path in described["paths"] if path.startswith("/clipserve")} == unary
    names = [operation["operationId"] for _, operation in operations(described)]
    assert len(set(names)) == len(names)


def test_every_reference_leads_to_a_component_and_every_component_is_used(described: dict[str, Any]) -> None:
    used = set(re.findall(r"'\$ref': '#/components/(\w+/[\w.-]+)'", str(described)))
    kinds = ("schemas", "parameters", "headers", "responses")
    there = {f"{kind}/{name}" for kind in kinds for name in described["components"][kind]}
    assert used == there


def test_everything_of_the_protos_has_a_description(described: dict[str, Any]) -> None:
    assert all(operation["summary"] for _, operation in operations(described))
    for name, schema in described["components"]["schemas"].items():
        if name.startswith("OpenAI"):
            continue
        assert schema["description"], name
        for field, value in schema.get("properties", {}).items():
            assert value.get("description") or name == "Error", f"{name}.{field}"


def test_every_method_has_an_example_that_is_a_valid_request(
    described: dict[str, Any], methods: list[Method]
) -> None:
    assert EXAMPLES.keys() == {method.name for method in methods if not method.streaming}
    description = Description(described)
    for method in methods:
        if not method.streaming:
            body = described["paths"][method.path]["post"]["requestBody"]["content"]["application/json"]
            assert description.request_errors(method.request.DESCRIPTOR.name, body["example"]) == []
    for example in openai_paths.EXAMPLES.values():
        assert description.request_errors("OpenAIEmbeddingsRequest", example["value"]) == []


def test_every_status_of_an_error_is_described(described: dict[str, Any]) -> None:
    responses = described["components"]["responses"]
    for status in {*HTTP_STATUS.values(), *OWN_STATUS.values()}:
        for schema in ("Error", "OpenAIError"):
            assert f"- {status}: " in responses[f"{schema}{status // 100}XX"]["description"]
    assert all(
        operation["responses"].keys() == {"200", "4XX", "5XX"} for _, operation in operations(described)
    )


def test_tokens_are_described_where_there_are_tokens(
    described: dict[str, Any], methods: list[Method]
) -> None:
    assert described["security"] == []
    assert "securitySchemes" not in described["components"]
    guarded = document(methods, Settings().limits, tokens=True)
    (scheme,) = [name for requirement in guarded["security"] for name in requirement]
    assert guarded["components"]["securitySchemes"][scheme] == {"type": "http", "scheme": "bearer"}
    OpenAPIV31SpecValidator(guarded).validate()


def test_it_has_the_limits_of_this_server(methods: list[Method]) -> None:
    limits = Settings(max_items_per_call=7).limits
    assert document(methods, limits, tokens=False)["x-limits"]["max_items_per_call"] == 7
