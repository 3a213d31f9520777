"""What the packages openai, LangChain and LlamaIndex get from a server, as JSON. Runs in .venv-clients.

python openai_clients.py URL MODEL PICTURE, with texts as JSON on standard input. Exceptions become their
class and facts.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai import OpenAIEmbedding
from openai import APIStatusError, AsyncOpenAI, OpenAI

URL, MODEL, PICTURE = sys.argv[1:]
TEXTS: list[str] = json.load(sys.stdin)
URI = "data:image/jpeg;base64," + base64.b64encode(Path(PICTURE).read_bytes()).decode()
KEY = "no key needed"
WITHOUT_RETRIES: dict[str, Any] = {"base_url": URL, "api_key": KEY, "max_retries": 0}


def vectors(answer: Any) -> list[list[float]]:
    """The embeddings of an answer."""
    return [each.embedding for each in answer.data]


def refusal(call: Callable[[], object]) -> dict[str, Any]:
    """What the caller catches."""
    try:
        call()
    except APIStatusError as error:
        facts = {name: getattr(error, name) for name in ("status_code", "code", "param", "type", "message")}
        return {"kind": type(error).__name__, **facts, "request_id": error.request_id}
    raise AssertionError("the call succeeded")


def openai() -> dict[str, Any]:
    """The package openai, sync."""
    client = OpenAI(**WITHOUT_RETRIES)
    create = client.embeddings.create
    plain = create(model=MODEL, input=TEXTS)
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": URI}}]}]
    return {
        "plain": vectors(plain),
        "float": vectors(create(model=MODEL, input=TEXTS, encoding_format="float")),
        "base64": vectors(create(model=MODEL, input=TEXTS, encoding_format="base64")),
        "one": vectors(create(model=MODEL, input=TEXTS[0])),
        "mixed": vectors(create(model=MODEL, input=[TEXTS[0], URI, {"text": TEXTS[1]}, {"image": URI}])),
        "messages": vectors(create(model=MODEL, input=None, extra_body={"messages": messages})),
        "short": vectors(
            create(model=MODEL, input=TEXTS, dimensions=8, extra_body={"allow_truncation": True})
        ),
        "tokens": [plain.usage.prompt_tokens, plain.usage.total_tokens],
        "model": plain.model,
        "models": [model.id for model in client.models.list()],
        "retrieved": client.models.retrieve(MODEL).id,
        "refusals": [
            refusal(lambda: create(model="text-embedding-3-small", input="a")),
            refusal(lambda: client.models.retrieve("text-embedding-3-small")),
            refusal(lambda: create(model=MODEL, input=["a", "https://example.com/cat.jpg"])),
            refusal(lambda: create(model=MODEL, input=["a", "data:image/png;base64,aGVsbG8="])),
            refusal(lambda: create(model=MODEL, input=[1, 2, 3])),
            refusal(lambda: create(model=MODEL, input="a", dimensions=8)),
            refusal(lambda: client.chat.completions.create(model=MODEL, messages=[])),
        ],
    }


async def async_openai() -> dict[str, Any]:
    """The package openai, async."""
    async with AsyncOpenAI(**WITHOUT_RETRIES) as client:
        answers = await asyncio.gather(
            *(client.embeddings.create(model=MODEL, input=[text, URI]) for text in TEXTS)
        )
        models = [model.id async for model in client.models.list()]
    return {"plain": [vectors(answer) for answer in answers], "models": models}


def langchain() -> dict[str, Any]:
    """LangChain, sync and async."""
    embeddings = OpenAIEmbeddings(
        model=MODEL, base_url=URL, api_key=KEY, check_embedding_ctx_length=False, chunk_size=2, max_retries=0
    )
    return {
        "documents": embeddings.embed_documents(TEXTS),
        "query": embeddings.embed_query(TEXTS[0]),
        "async": asyncio.run(embeddings.aembed_documents(TEXTS)),
    }


def llama_index() -> dict[str, Any]:
    """LlamaIndex, sync and async."""
    embeddings = OpenAIEmbedding(
        model_name=MODEL, api_base=URL, api_key=KEY, embed_batch_size=2, max_retries=1
    )
    return {
        "documents": embeddings.get_text_embedding_batch(TEXTS),
        "query": embeddings.get_query_embedding(TEXTS[0]),
        "async": asyncio.run(embeddings.aget_text_embedding_batch(TEXTS)),
    }


if __name__ == "__main__":
    found = {
        "openai": openai(),
        "async": asyncio.run(async_openai()),
        "langchain": langchain(),
        "llama_index": llama_index(),
    }
    json.dump(found, sys.stdout)
