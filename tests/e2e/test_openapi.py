"""The description of the API fits the running service: its examples work, its schemas fit the answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from clipserve_gateway.http_adapter.openapi import openai_paths
from clipserve_gateway.http_adapter.openapi.examples import COLLECTION, EXAMPLES, LABEL_SET

from testing.openapi import Description
from testing.service import Service

MIGRATED = "MIGRATION_STATE_READY"
MIGRATION_SECONDS = 60.0


def described_as(answer: httpx.Response) -> str:
    """The key of an answer in the description: a status, or a class of statuses."""
    return "200" if answer.status_code == 200 else f"{answer.status_code // 100}XX"


class Api:
    """Calls by the description: each answer must have a described status and fit its schema."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.document = http.get("/openapi.json").json()
        self._description = Description(self.document)
        self._paths = {path.rpartition("/")[2]: path for path in self.document["paths"]}

    def call(self, name: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer of the path that ends with this name."""
        path = self._paths[name]
        return self.send("get" if "get" in self.document["paths"][path] else "post", path, body)

    def send(self, verb: str, path: str, body: Any = None, **places: str) -> tuple[int, Any]:
        """Status and answer of a path."""
        answer = self._http.request(verb.upper(), path.format(**places), json=body)
        described = self.resolve(self.document["paths"][path][verb]["responses"][described_as(answer)])
        for header, each in described["headers"].items():
            assert header in answer.headers or not self.resolve(each).get("required"), header
        schema = described["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert self._description.answer_errors(schema, answer.json()) == [], f"{path}: {answer.text[:500]}"
        return answer.status_code, answer.json()

    def resolve(self, value: dict[str, Any]) -> dict[str, Any]:
        """The component that a reference names."""
        if "$ref" not in value:
            return value
        _, kind, name = value["$ref"].removeprefix("#/").split("/")
        return self.document["components"][kind][name]


@pytest.fixture(scope="module")
def api(live: Service) -> Iterator[Api]:
    with httpx.Client(base_url=live.api, timeout=60) as http:
        yield Api(http)


def test_all_examples_work_in_their_order_and_their_answers_fit_the_schemas(api: Api) -> None:
    try:
        for name, example in EXAMPLES.items():
            status, answer = api.call(name, example)
            assert status == 200, (name, answer)
            if name == "StartMigration":
                wait_until_migrated(api)
            if name == "Search":
                assert [hit["id"] for hit in answer["hits"]] == ["1"]
    finally:
        api.call("DeleteCollection", {"name": COLLECTION})
        api.call("DeleteLabelSet", {"ref": {"name": LABEL_SET}})


def wait_until_migrated(api: Api) -> None:
    end = time.monotonic() + MIGRATION_SECONDS
    while (state := migration_state(api)) != MIGRATED:
        assert time.monotonic() < end, state
        time.sleep(0.05)


def migration_state(api: Api) -> str:
    _, answer = api.call("GetCollection", {"name": COLLECTION})
    return answer["collection"]["migration"]["state"]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_the_openai_examples_work_and_their_answers_fit_the_schemas(api: Api, encoding: str) -> None:
    for example in openai_paths.EXAMPLES.values():
        status, answer = api.call("embeddings", example["value"] | {"encoding_format": encoding})
        assert status == 200, answer
    status, models = api.call("models")
    assert {model["id"] for model in models["data"]} >= {"demo", "twin"}
    status, model = api.send("get", "/v1/models/{model}", model="demo")
    assert (status, model["id"]) == (200, "demo")


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("Classify", {"images": [], "labels": {"names": ["cat"]}}, 400),
        ("Classify", {"imagez": []}, 400),
        ("GetCollection", {"name": "nobody"}, 404),
        ("PutAlias", {"alias": {"name": "nobody", "collection": "missing"}}, 404),
        ("embeddings", {"model": "demo", "input": []}, 400),
        ("embeddings", {"model": "none", "input": "a"}, 404),
    ],
)
def test_the_answers_of_failed_calls_fit_the_schemas(api: Api, name: str, body: Any, status: int) -> None:
    assert api.call(name, body)[0] == status


def test_an_item_that_fails_fits_the_schema(api: Api) -> None:
    body = {"inputs": [{"text": "a"}, {"image": {"content": "AAAA"}}]}
    status, answer = api.call("Embed", body)
    assert status == 200
    assert [result["status"]["code"] for result in answer["results"]] == [0, 3]
