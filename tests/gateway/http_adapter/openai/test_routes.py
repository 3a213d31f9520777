"""OpenAI's API as HTTP carries it, around a fake backend."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from testing.callers import secret
from testing.fakes import DIM, SPEC

KEY = {"authorization": f"Bearer {secret('app')}"}


async def embeddings(api, **body: Any) -> httpx.Response:
    headers = body.pop("headers", {})
    return await api.http.post("/v1/embeddings", json={"model": SPEC.name, **body}, headers=headers)


def vectors(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array([each["embedding"] for each in answer.json()["data"]], np.float32)


def error_of(answer: httpx.Response) -> tuple[int, str, str, str | None]:
    """The status, type, code and param of an error."""
    error = answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"
    assert error.keys() == {"message", "type", "param", "code"}
    return answer.status_code, error["type"], error["code"], error["param"]


async def test_embeddings_are_those_of_embed(api, picture):
    content = base64.b64encode(picture().content).decode()
    own = await api.call(
        "ClipService/Embed",
        {
            "inputs": [{"text": "a dog"}, {"image": {"content": content}}],
            "format": "EMBEDDING_FORMAT_FLOAT_LIST",
        },
    )
    expected = [result["embedding"]["values"]["values"] for result in own.json()["results"]]
    answer = await embeddings(api, input=["a dog", f"data:image/png;base64,{content}"])
    np.testing.assert_allclose(vectors(answer), expected, atol=1e-7)
    assert answer.json()["model"] == SPEC.name
    short = (await embeddings(api, input="a dog", encoding_format="base64")).json()["data"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(short), "<f4"), vectors(answer)[0])


async def test_usage_counts_the_tokens_of_texts(api, picture):
    uri = f"data:image/png;base64,{base64.b64encode(picture().content).decode()}"
    answer = await embeddings(api, input=["a dog", uri, "dog"])
    # Each text has a start and an end token.
    assert answer.json()["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


async def test_numbers_of_dimensions_are_those_that_the_caller_wants(api):
    answer = await embeddings(api, input="a dog", dimensions=DIM // 2)
    assert error_of(answer) == (400, "invalid_request_error", "INVALID_INPUT", "dimensions")
    answer = await embeddings(api, input="a dog", dimensions=DIM // 2, allow_truncation=True)
    assert vectors(answer).shape == (1, DIM // 2)
    assert np.linalg.norm(vectors(answer)) == pytest.approx(1, abs=1e-6)


async def test_embeddings_are_raw_where_the_caller_wants(api):
    raw = vectors(await embeddings(api, input="a dog", normalized=False))
    assert np.linalg.norm(raw) != pytest.approx(1, abs=0.1)
    unit = vectors(await embeddings(api, input="a dog"))
    np.testing.assert_allclose(raw / np.linalg.norm(raw), unit, atol=1e-6)


async def test_long_texts_are_cut_with_a_warning_or_refused(api):
    long = "dog " * 200
    answer = await embeddings(api, input=["dog", long])
    assert answer.json()["data"][1]["truncated"]
    assert answer.json()["warnings"][0]["param"] == "input[1]"
    answer = await embeddings(api, input=["dog", long], truncate=False)
    assert error_of(answer) == (400, "invalid_request_error", "LIMIT_EXCEEDED", "input[1]")


async def test_a_bad_picture_fails_the_call_and_is_named(api):
    answer = await embeddings(api, input=["dog", "data:image/png;base64,aGVsbG8="])
    assert error_of(answer) == (400, "invalid_request_error", "IMAGE_UNREADABLE", "input[1]")
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
    answer = await embeddings(api, messages=[{"role": "user", "content": [part]}])
    assert error_of(answer)[3] == "messages[0].content[0].image_url.url"


async def test_unknown_models_are_not_found(api):
    for answer in (
        await embeddings(api, model="nope", input="a"),
        await embeddings(api, model="", input="a"),
    ):
        assert error_of(answer) == (404, "invalid_request_error", "MODEL_NOT_FOUND", "model")
    assert error_of(await api.http.get("/v1/models/nope"))[::2] == (404, "MODEL_NOT_FOUND")


async def test_models_are_listed(api):
    listed = (await api.http.get("/v1/models")).json()
    (model,) = listed["data"]
    assert (listed["object"], model["id"], model["object"]) == ("list", SPEC.name, "model")
    assert (model["embed_dim"], model["fingerprint"]) == (DIM, SPEC.fingerprint)
    assert (await api.http.get(f"/v1/models/{SPEC.name}")).json() == model


async def test_the_token_is_openais_key(start):
    api = await start("app")
    answer = await embeddings(api, input="a")
    assert error_of(answer) == (401, "authentication_error", "UNAUTHENTICATED", None)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert vectors(await embeddings(api, input="a", headers=KEY)).shape == (1, DIM)
    assert (await api.http.get("/v1/models")).status_code == 401
    assert len((await api.http.get("/v1/models", headers=KEY)).json()["data"]) == 1


async def test_a_key_is_ignored_on_a_server_without_tokens(api):
    assert vectors(await embeddings(api, input="a", headers=KEY)).shape == (1, DIM)


async def test_a_token_sees_its_own_models_only(start):
    api = await start("app models=other")
    answer = await embeddings(api, input="a", headers=KEY)
    assert error_of(answer)[:3] == (403, "permission_error", "PERMISSION_DENIED")
    assert (await api.http.get("/v1/models", headers=KEY)).json()["data"] == []


async def test_a_caller_above_its_rate_learns_when_to_come_again(start):
    api = await start("app rate=0.5 burst=1")
    assert (await embeddings(api, input="a", headers=KEY)).status_code == 200
    answer = await embeddings(api, input="a", headers=KEY)
    assert error_of(answer)[:3] == (429, "rate_limit_error", "RATE_LIMITED")
    assert answer.headers["retry-after"] == "2"
    assert 1000 < int(answer.headers["retry-after-ms"]) <= 2000


async def test_a_fault_of_the_model_is_a_server_error(api):
    api.parts.backend.encoder.reject = lambda row: True
    answer = await embeddings(api, input="a")
    assert error_of(answer) == (500, "server_error", "INFERENCE_FAILED", "input")


async def test_an_unexpected_error_says_nothing_of_its_cause(api, monkeypatch):
    def fail(*_: object) -> bytes:
        raise RuntimeError("secret")

    monkeypatch.setattr("clipserve_gateway.http_adapter.openai.transport.write_embeddings", fail)
    answer = await embeddings(api, input="a")
    assert error_of(answer) == (500, "server_error", "INTERNAL", None)
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "JSON object"),
        (b"", 400, "empty"),
        (b'{"model": "a", "model": "b"}', 400, "twice"),
        (b"\xff", 400, "UTF-8"),
        (b" " * 2**25, 413, "more than"),
    ],
)
async def test_other_bodies_are_refused(api, content, status, words):
    answer = await api.http.post(
        "/v1/embeddings", content=content, headers={"content-type": "application/json"}
    )
    assert error_of(answer)[:2] == (status, "invalid_request_error")
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/proto"])
async def test_only_json_is_read(api, kind):
    answer = await api.http.post("/v1/embeddings", content=b"{}", headers={"content-type": kind})
    assert error_of(answer) == (415, "invalid_request_error", "NOT_SUPPORTED", "content-type")


@pytest.mark.parametrize(
    ("verb", "path", "status", "words"),
    [
        ("POST", "/v1/chat/completions", 404, "POST /v1/embeddings"),
        ("GET", "/v1/", 404, "/v1/"),
        ("POST", "/embeddings", 404, "below /v1 here: set base_url"),
        ("GET", "/embeddings", 404, "below /v1 here: set base_url"),
        ("GET", "/models", 404, "below /v1 here: set base_url"),
        ("GET", f"/models/{SPEC.name}", 404, "below /v1 here: set base_url"),
        ("GET", "/v1/embeddings", 405, "called by POST"),
        ("DELETE", f"/v1/models/{SPEC.name}", 405, "called by GET"),
    ],
)
async def test_other_paths_and_verbs_get_openais_error(api, verb, path, status, words):
    answer = await api.http.request(verb, path)
    assert error_of(answer)[:3] == (status, "invalid_request_error", "NOT_SUPPORTED")
    assert words in answer.json()["error"]["message"]


async def test_calls_are_counted_and_timed_as_those_of_grpc(api):
    answer = await embeddings(api, input="a", headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    assert "encode;dur=" in answer.headers["clipserve-timing"]
    counted = api.parts.metrics.registry.get_sample_value(
        "clipserve_requests_total", {"method": "Embed", "code": "OK", "model": SPEC.name}
    )
    assert counted == 1
    await api.released()
