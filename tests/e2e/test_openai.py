"""OpenAI's API on the real service: raw, and by the packages that others wrote."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testing.service import ROOT, start_gateway

PYTHON = ROOT / ".venv-clients" / "bin" / "python"
needs_clients = pytest.mark.skipif(
    not PYTHON.exists(), reason="run `make .venv-clients/.ready` for the tests with packages of others"
)
TEXTS = ["a photo of a cat", "a cup of coffee", "a rocket"]
PICTURE = ROOT / "demo" / "photos" / "cat.jpg"
URI = "data:image/jpeg;base64," + base64.b64encode(PICTURE.read_bytes()).decode()


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a call of /v1/embeddings."""
    request = urllib.request.Request(
        f"{url}/v1/embeddings", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.fixture(scope="module")
def texts(client) -> np.ndarray:
    """What the SDK gets for the texts."""
    return client.embed_texts(TEXTS).embeddings


@pytest.fixture(scope="module")
def picture(client) -> np.ndarray:
    """What the SDK gets for the picture."""
    return client.embed_images([PICTURE]).embeddings[0]


def assert_same(found: Any, expected: np.ndarray) -> None:
    """Whether embeddings are equal, but for what the size of a batch changes."""
    np.testing.assert_allclose(np.array(found, np.float32), expected, atol=1e-5)


def test_embeddings_are_those_of_grpc(live, texts, picture):
    answer = post(live.api, {"model": "demo", "input": [*TEXTS, URI, {"image": URI}]})
    assert_same([each["embedding"] for each in answer["data"]], np.stack([*texts, picture, picture]))
    answer = post(live.api, {"model": "demo", "input": TEXTS, "encoding_format": "base64"})
    assert_same([np.frombuffer(base64.b64decode(it["embedding"]), "<f4") for it in answer["data"]], texts)
    assert answer["usage"]["prompt_tokens"] > 3 * len(TEXTS)


def run(*words: str, stdin: str = "") -> str:
    """What the command prints in the environment of the clients, at the clone's root."""
    done = subprocess.run(
        [PYTHON, *words],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(live) -> dict[str, Any]:
    """What the packages got: see openai_clients.py."""
    script = Path(__file__).parent / "openai_clients.py"
    told = run(str(script), f"{live.api}/v1", "demo", str(PICTURE), stdin=json.dumps(TEXTS))
    answers: dict[str, Any] = json.loads(told)
    return answers


@pytest.mark.slow
@needs_clients
def test_the_packages_openai_langchain_and_llama_index_get_the_embeddings_of_grpc(found, texts, picture):
    sync, langchain, llama_index = found["openai"], found["langchain"], found["llama_index"]
    for each in (
        sync["plain"],
        sync["float"],
        [np.frombuffer(base64.b64decode(data), "<f4") for data in sync["base64"]],
        *(kind[name] for kind in (langchain, llama_index) for name in ("documents", "async")),
    ):
        assert_same(each, texts)
    for each in (sync["one"][0], langchain["query"], llama_index["query"]):
        assert_same(each, texts[0])
    assert_same(sync["mixed"], np.stack([texts[0], picture, texts[1], picture]))
    assert_same(sync["messages"], picture[None])
    assert_same(found["async"]["plain"], np.stack([texts, np.stack([picture] * 3)], axis=1))
    short = texts[:, :8] / np.linalg.norm(texts[:, :8], axis=1, keepdims=True)
    assert_same(sync["short"], short)
    assert sync["model"] == sync["retrieved"] == "demo"
    assert sync["models"] == found["async"]["models"] == ["demo", "twin"]
    assert sync["tokens"][0] == sync["tokens"][1] > 3 * len(TEXTS)


@pytest.mark.slow
@needs_clients
def test_the_package_openai_raises_its_own_exceptions(found):
    refusals = found["openai"]["refusals"]
    assert [(it["kind"], it["status_code"], it["code"], it["param"]) for it in refusals] == [
        ("NotFoundError", 404, "MODEL_NOT_FOUND", "model"),
        ("NotFoundError", 404, "MODEL_NOT_FOUND", "model"),
        ("BadRequestError", 400, "INVALID_INPUT", "input[1]"),
        ("BadRequestError", 400, "IMAGE_UNREADABLE", "input[1]"),
        ("BadRequestError", 400, "INVALID_INPUT", "input"),
        ("BadRequestError", 400, "INVALID_INPUT", "dimensions"),
        ("NotFoundError", 404, "NOT_SUPPORTED", None),
    ]
    assert "fetches nothing" in refusals[2]["message"]
    assert "check_embedding_ctx_length=False" in refusals[4]["message"]
    assert all(it["request_id"] for it in refusals[:6])


@pytest.mark.slow
@needs_clients
@pytest.mark.parametrize("name", ["README.md", "docs/openai.md"])
def test_what_the_documents_show_works_as_pasted(live, name):
    """Each prints numbers; of two cosines with a picture of a cat, the first is with the cat's text."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    blocks = [block for block in blocks if ":8602" in block]
    assert blocks
    for block in blocks:
        told = run("-c", block.replace("http://localhost:8602", live.api)).split()
        numbers = [float(word) for word in told]
        assert numbers
        assert len(numbers) < 2 or numbers[0] > numbers[1]


@pytest.mark.slow
@needs_clients
def test_the_package_openai_waits_as_long_as_the_server_says(live, tmp_path):
    """It repeats a call above the rate of its token, by itself."""
    (tmp_path / "tokens").write_text("app app-0123456789abcdef rate=1 burst=3\n")
    options = ("--api-port", "0", "--token-file", str(tmp_path / "tokens"))
    gateway = start_gateway(live.triton, str(tmp_path / "data"), tmp_path, *options)
    code = (
        "import sys, time, openai\n"
        "client = openai.OpenAI(base_url=sys.argv[1], api_key='app-0123456789abcdef', max_retries=5)\n"
        "while 'demo' not in [model.id for model in client.models.list() if model.ready]:\n"
        "    time.sleep(0.2)\n"
        "for number in range(5):\n"
        "    print(len(client.embeddings.create(model='demo', input=f'text {number}').data))\n"
    )
    try:
        assert run("-c", code, f"{gateway.api}/v1").split() == ["1"] * 5
        assert '"code": "RESOURCE_EXHAUSTED"' in gateway.log.read_text()
    finally:
        gateway.stop()
