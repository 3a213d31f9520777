"""The body of `/v1/embeddings` → EmbedRequest, and EmbedResponse → OpenAI's list of embeddings."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from clipserve.v1 import clip_pb2, common_pb2

from clipserve_gateway.convert.common import check_message_bytes
from clipserve_gateway.convert.status import error_of
from clipserve_gateway.errors import InvalidInput, LimitExceeded, ModelNotFound
from clipserve_gateway.http_adapter.json_text import shown
from clipserve_gateway.http_adapter.json_values import read_bool, read_integer, read_text
from clipserve_gateway.http_adapter.openai.inputs import named, read_inputs
from clipserve_gateway.http_adapter.openai.pictures import NO_FILES
from clipserve_gateway.types import Limits

FIELDS = (
    "model",
    "input",
    "messages",
    "encoding_format",
    "dimensions",
    "allow_truncation",
    "normalized",
    "truncate",
    "user",
    "input_type",
)
"""Fields of a request. `user` and `input_type` change nothing."""
HINTS = {
    "priority": "; the header x-clipserve-priority: bulk gives other calls the right of way",
    "embedding_type": "; its name here is encoding_format",
}
FORMATS = ("float", "base64")
CUTS = {None: None, True: True, "END": True, False: False, "NONE": False}
"""Values of `truncate`: whether a long text may be cut; None if the caller does not say."""
MAX_DIMENSIONS = (1 << 31) - 1
BYTES_OF_A_FLOAT = 14
"""Most bytes of a float32 in JSON, with its comma."""
INPUT = re.compile(r"inputs\[(\d+)\]")
NAMES = {"inputs": "input", "format": "encoding_format", "raw": "normalized"}
"""Fields of EmbedRequest that have other names in OpenAI's API."""


@dataclass(frozen=True)
class Asked:
    """What the answer needs to know of the body.

    Attributes:
        places: of each input in the body, e.g. `input[3]`.
        encoding_format: `float` or `base64`.
        cut: whether long texts may be cut; None if the caller does not say.
        paths: places of the strings that look like paths of files.
    """

    places: tuple[str, ...]
    encoding_format: str
    cut: bool | None
    paths: tuple[str, ...] = ()

    def param(self, field: str) -> str:
        """The place in the body of a field of EmbedRequest; empty for none."""
        at = INPUT.match(field)
        if at and int(at[1]) < len(self.places):
            return self.places[int(at[1])]
        return NAMES.get(field, field)


NOTHING_ASKED = Asked((), "float", None)


def read_embeddings(body: dict[str, Any], limits: Limits) -> tuple[clip_pb2.EmbedRequest, Asked]:
    """The request, and what its answer needs. Raises InvalidInput or ModelNotFound.

    Null means the same as no field.
    """
    for name in body:
        if name not in FIELDS:
            raise InvalidInput(
                f"unknown field {named([name])}{HINTS.get(name, '')}; the known ones are {', '.join(FIELDS)}",
                field=shown(name),
            )
    model = text_of(body, "model")
    if not model:
        raise ModelNotFound("set model to one of the names that GET /v1/models lists", field="model")
    for name in ("user", "input_type"):
        text_of(body, name)
    encoding_format = text_of(body, "encoding_format") or "float"
    if encoding_format not in FORMATS:
        raise InvalidInput(
            f"encoding_format is {named([encoding_format])}; use float or base64. Smaller formats are served "
            "by /clipserve.v1.ClipService/Embed",
            field="encoding_format",
        )
    cut = body.get("truncate")
    if not isinstance(cut, str | bool | None) or cut not in CUTS:
        raise InvalidInput(
            'truncate is true or "END" (cut the end of long texts), or false or "NONE" (refuse long texts)',
            field="truncate",
        )
    placed = read_inputs(body, limits)
    request = clip_pb2.EmbedRequest(
        model=model,
        inputs=[each.input for each in placed],
        raw=not flag_of(body, "normalized", default=True),
        format=common_pb2.EMBEDDING_FORMAT_FLOAT32_LE,
        dimensions=dimensions_of(body),
        allow_truncation=flag_of(body, "allow_truncation", default=False),
    )
    places = tuple(each.place for each in placed)
    paths = tuple(each.place for each in placed if each.is_path)
    return request, Asked(places, encoding_format, CUTS[cut], paths)


def text_of(body: dict[str, Any], name: str) -> str:
    """A field with a string; empty for null and for no field."""
    value = body.get(name)
    return "" if value is None else read_text(value, name)


def flag_of(body: dict[str, Any], name: str, *, default: bool) -> bool:
    """A field with true or false."""
    value = body.get(name)
    return default if value is None else read_bool(value, name)


def dimensions_of(body: dict[str, Any]) -> int:
    """The number of dimensions; 0, which means all of them, for null and for no field."""
    value = body.get("dimensions")
    if value is None:
        return 0
    try:
        return read_integer(1, MAX_DIMENSIONS, value, "dimensions")
    except InvalidInput:
        raise InvalidInput(
            "dimensions must be an integer from 1 to the model's embed_dim, which GET /v1/models lists",
            field="dimensions",
        ) from None


def write_embeddings(response: clip_pb2.EmbedResponse, asked: Asked, limits: Limits) -> bytes:
    """The answer in JSON.

    Raises the error of the first input that has one, because OpenAI's answer has no place for it, and
    LimitExceeded if the answer is too large.
    """
    check_results(response, asked)
    vectors = [result.embedding.float32_le for result in response.results]
    if asked.encoding_format == "float":
        size = sum(map(len, vectors)) // 4 * BYTES_OF_A_FLOAT
        check_message_bytes(size, limits, "input", 'Send fewer inputs or set encoding_format to "base64"')
    tokens = sum(result.tokens for result in response.results)
    answer: dict[str, Any] = {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": i,
                "embedding": write_vector(vector, asked.encoding_format),
                **({"truncated": True} if result.truncated else {}),
            }
            for i, (vector, result) in enumerate(zip(vectors, response.results, strict=True))
        ],
        "model": response.model.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    if warnings := [*warnings_of(response, asked)]:
        answer["warnings"] = warnings
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def warnings_of(response: clip_pb2.EmbedResponse, asked: Asked) -> Iterator[dict[str, str]]:
    """What the caller may not expect: cut texts, and paths as words."""
    if cut := cut_places(response, asked):
        words = f"{too_long(cut)}; the rest was cut off. Set truncate to false to get an error instead"
        yield {"code": "TEXT_TRUNCATED", "param": cut[0], "message": words}
    if asked.paths:
        looks = "looks like the path of a file" if len(asked.paths) == 1 else "look like paths of files"
        words = f"{listed(asked.paths)} {looks}. Such a string is embedded as words: {NO_FILES}"
        without = 'For words without this warning, send {"text": …}'
        yield {"code": "TEXT_LIKE_PATH", "param": asked.paths[0], "message": f"{words}. {without}"}


def check_results(response: clip_pb2.EmbedResponse, asked: Asked) -> None:
    """Raises the error of the first input that has one, or that was cut although that was refused."""
    failed = [i for i, result in enumerate(response.results) if result.status.code]
    if failed:
        error = error_of(response.results[failed[0]].status)
        if len(failed) > 1:
            error.message += f" ({len(failed) - 1} more inputs failed)"
        error.field = f"inputs[{failed[0]}]"
        raise error
    if asked.cut is False and (cut := cut_places(response, asked)):
        raise LimitExceeded(f"{too_long(cut)}, and truncate is false. Send shorter texts", field=cut[0])


def cut_places(response: clip_pb2.EmbedResponse, asked: Asked) -> list[str]:
    """The places of the texts that the model did not read to their ends."""
    return [place for place, result in zip(asked.places, response.results, strict=True) if result.truncated]


def too_long(places: Sequence[str]) -> str:
    """Which texts do not fit."""
    return f"{listed(places)} {'is' if len(places) == 1 else 'are'} longer than the model's context"


def listed(places: Sequence[str]) -> str:
    """The first eight places, and how many there are in all."""
    more = f", … ({len(places)} in all)" if len(places) > 8 else ""
    return ", ".join(places[:8]) + more


def write_vector(vector: bytes, encoding_format: str) -> str | np.ndarray[Any, Any]:
    """The little-endian float32 numbers as JSON has them."""
    if encoding_format == "base64":
        return base64.b64encode(vector).decode()
    return np.frombuffer(vector, "<f4")
