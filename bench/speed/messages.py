"""Requests as bytes, for each kind of server."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TypeVar

from clipserve.v1 import clip_pb2, common_pb2
from clipserve_gateway.inputs import preprocess
from google.protobuf import json_format
from tritonclient.grpc import service_pb2

from testing.preprocessing import square

T = TypeVar("T")

EMBED = "/clipserve.v1.ClipService/Embed"
CLASSIFY = "/clipserve.v1.ClipService/Classify"
SEARCH = "/clipserve.v1.ClipService/Search"
INFER = "/inference.GRPCInferenceService/ModelInfer"
LIMITS = preprocess.ImageLimits(max_bytes=1 << 28, max_pixels=1 << 28)
SIZE = 224
INFINITY_MODEL = "clip"


def grouped(items: Sequence[T], size: int) -> list[list[T]]:
    """Items by the calls that they go in."""
    return [list(items[first : first + size]) for first in range(0, len(items) - size + 1, size)]


def embed_images(photos: Sequence[bytes], items: int = 1) -> list[bytes]:
    """Embed calls of so many pictures each."""
    return [
        clip_pb2.EmbedRequest(
            inputs=[clip_pb2.EmbedInput(image=common_pb2.Image(content=photo)) for photo in group]
        ).SerializeToString()
        for group in grouped(photos, items)
    ]


def embed_texts(texts: Sequence[str], items: int = 1, model: str = "") -> list[bytes]:
    """Embed calls of so many texts each."""
    return [
        clip_pb2.EmbedRequest(
            model=model, inputs=[clip_pb2.EmbedInput(text=text) for text in group]
        ).SerializeToString()
        for group in grouped(texts, items)
    ]


def openai_images(model: str, photos: Sequence[bytes], encoding_format: str) -> list[bytes]:
    """Calls of /v1/embeddings of one picture each."""
    pictures = ["data:image/jpeg;base64," + base64.b64encode(photo).decode() for photo in photos]
    return openai_texts(model, pictures, encoding_format)


def openai_texts(model: str, texts: Sequence[str], encoding_format: str, items: int = 1) -> list[bytes]:
    """Calls of /v1/embeddings of so many texts each."""
    return [
        json.dumps({"model": model, "encoding_format": encoding_format, "input": group}).encode()
        for group in grouped(texts, items)
    ]


def as_json(requests: Sequence[bytes]) -> list[bytes]:
    """Embed calls as the API port takes them in JSON; embeddings come back in base64."""
    return [json_format.MessageToJson(clip_pb2.EmbedRequest.FromString(it)).encode() for it in requests]


def classify(photos: Sequence[bytes], labels: Sequence[str]) -> list[bytes]:
    """Classify calls of one picture each."""
    return [
        clip_pb2.ClassifyRequest(
            images=[common_pb2.Image(content=photo)], labels=clip_pb2.LabelSet(names=labels)
        ).SerializeToString()
        for photo in photos
    ]


def infer_image(model: str, photo: bytes) -> bytes:
    """A call of Triton itself, of one decoded picture."""
    pixels = preprocess.load_image(photo, *square(SIZE), limits=LIMITS, fast=True)
    request = service_pb2.ModelInferRequest(model_name=f"{model}_image")
    request.inputs.add(name="INPUT__0", datatype="UINT8", shape=(1, *pixels.shape))
    request.outputs.add(name="OUTPUT__0")
    request.raw_input_contents.append(pixels.tobytes())
    return request.SerializeToString()


def infinity_image(photo: bytes) -> bytes:
    """infinity's call of one picture; embeddings in base64, the shortest it has."""
    picture = "data:image/jpeg;base64," + base64.b64encode(photo).decode()
    return json.dumps(
        {"model": INFINITY_MODEL, "modality": "image", "encoding_format": "base64", "input": [picture]}
    ).encode()


def litserve_image(photo: bytes) -> bytes:
    """A call of one picture, as litserve_app.py takes it."""
    return json.dumps({"image": base64.b64encode(photo).decode()}).encode()
