"""Calls a server by the package connectrpc, and prints what it gets as JSON. Runs in .venv-clients.

Arguments: URL of the API, a picture, the folder of the stubs' package, a folder with google.protobuf.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

URL, PICTURE, STUBS, LIBRARIES = sys.argv[1:]
# This environment has the runtime of Connect's authors alone. Google's comes last, so that it hides nothing.
sys.path.append(LIBRARIES)
package = types.ModuleType("clipserve")
package.__path__ = [STUBS]
sys.modules["clipserve"] = package

from clipserve.v1 import clip_pb2, common_pb2  # noqa: E402
from connectrpc.client import ConnectClientSync, ResponseMetadata  # noqa: E402
from connectrpc.compat import google_protobuf_codecs  # noqa: E402
from connectrpc.errors import ConnectError  # noqa: E402
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType  # noqa: E402


def method(name: str, *, stream: bool = False) -> MethodInfo:
    """A method of ClipService."""
    return MethodInfo(
        name=name,
        service_name="clipserve.v1.ClipService",
        input=getattr(clip_pb2, f"{name}Request"),
        output=getattr(clip_pb2, f"{name}Response"),
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.BIDI_STREAM if stream else StreamType.UNARY,
    )


def embed(client: ConnectClientSync, *texts: str, **options: Any) -> dict[str, Any]:
    """The embeddings of the picture and some texts, or the error."""
    image = common_pb2.Image(content=Path(PICTURE).read_bytes())
    inputs = [clip_pb2.EmbedInput(image=image), *(clip_pb2.EmbedInput(text=text) for text in texts)]
    request = clip_pb2.EmbedRequest(inputs=inputs, **options.pop("fields", {}))
    with ResponseMetadata() as metadata:
        try:
            answer = client.execute_unary(request=request, method=method("Embed"), **options)
        except ConnectError as error:
            return {
                "code": error.code.value,
                "message": error.message,
                "details": [[detail.type_name, detail.message_bytes.hex()] for detail in error.details],
            }
        trailers = metadata.trailers
    return {
        "embeddings": [result.embedding.float32_le.hex() for result in answer.results],
        "request_id": trailers.get("x-request-id"),
    }


found = {}
for codec in google_protobuf_codecs():
    for packed in (True, False):
        options: dict[str, Any] = {} if packed else {"send_compression": None, "accept_compression": ()}
        with ConnectClientSync(URL, codec=codec, **options) as client:
            found[f"{codec.name()} {'gzip' if packed else 'plain'}"] = embed(
                client, "a cat", headers={"x-request-id": "r-1"}
            )
            found[f"{codec.name()} many"] = embed(client, *(f"a cat {i}" for i in range(200)))
            found[f"{codec.name()} error"] = embed(client, fields={"model": "nothing"})
            found[f"{codec.name()} late"] = embed(client, *(f"late {i}" for i in range(200)), timeout_ms=1)
print(json.dumps(found))
