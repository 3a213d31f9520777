"""The inputs of a request: strings, data URIs, objects with a text or an image, and messages."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from clipserve.v1 import clip_pb2, common_pb2

from clipserve_gateway.convert.common import check_limit
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.http_adapter.json_text import kind_of, shown
from clipserve_gateway.http_adapter.json_values import read_text
from clipserve_gateway.http_adapter.openai import pictures
from clipserve_gateway.types import Limits

TOKEN_IDS = (
    "this server takes texts, not token ids: each model has a tokenizer of its own. In LangChain, set "
    "OpenAIEmbeddings(check_embedding_ctx_length=False); in other clients, send strings"
)
ONE_PART = (
    "the messages have {count} parts, and the answer would have one embedding: a CLIP model embeds each text "
    "and each picture alone. Send one part, or send all of them as `input`"
)
BATCHES = ". Send less at a time; in LangChain set chunk_size={0}, in LlamaIndex embed_batch_size={0}"
ITEM_FORMS = 'a string, {"text": "…"} or {"image": "data:image/jpeg;base64,…"}'


@dataclass(frozen=True)
class Placed:
    """One input and its place in the JSON body, e.g. `input[3]`."""

    place: str
    input: clip_pb2.EmbedInput
    is_path: bool = False
    """Whether it is a string that looks like the path of a file."""


def read_inputs(body: dict[str, Any], limits: Limits) -> list[Placed]:
    """All inputs, in order. Raises InvalidInput; the whole call fails for one bad input."""
    if body.get("messages") is not None:
        if body.get("input") is not None:
            raise InvalidInput("set input or messages, not both", field="messages")
        return [read_messages(body["messages"])]
    given = body.get("input")
    if given is None:
        raise InvalidInput(f"set input: {ITEM_FORMS}, or a list of them", field="input")
    if not isinstance(given, list):
        return [read_placed(given, limits, "input")]
    if not given:
        raise InvalidInput("input must not be empty", field="input")
    if is_number(given[0]):
        raise InvalidInput(TOKEN_IDS, field="input")
    most = limits.max_items_per_call
    check_limit("the number of inputs", len(given), most, "input", BATCHES.format(most))
    return [read_placed(item, limits, f"input[{i}]") for i, item in enumerate(given)]


def read_placed(item: object, limits: Limits, place: str) -> Placed:
    """One input. Raises InvalidInput."""
    return Placed(place, read_item(item, limits, place), isinstance(item, str) and pictures.is_path(item))


def read_item(item: object, limits: Limits, place: str) -> clip_pb2.EmbedInput:
    """The text or the picture. Raises InvalidInput."""
    if isinstance(item, str):
        if pictures.is_data_uri(item):
            return image(pictures.bytes_of_uri(item, place))
        pictures.check_words(read_text(item, place), limits, place)
        return text(item, place)
    if isinstance(item, list):
        wrong = TOKEN_IDS if item and is_number(item[0]) else f"a list in a list; each input is {ITEM_FORMS}"
        raise InvalidInput(wrong, field=place)
    if not isinstance(item, dict):
        raise InvalidInput(f"{kind_of(item)} is not an input; give {ITEM_FORMS}", field=place)
    if len(item) != 1 or not item.keys() <= {"text", "image"}:
        raise InvalidInput(
            f'the object has {named(item)}; give it exactly one of "text" and "image"', field=place
        )
    ((key, value),) = item.items()
    place = f"{place}.{key}"
    return text(value, place) if key == "text" else image(bytes_of_image(read_text(value, place), place))


def bytes_of_image(value: str, place: str) -> bytes:
    """The bytes of a picture that is given as a data URI or as base64 alone."""
    if pictures.is_data_uri(value) or pictures.is_url(value):
        return pictures.bytes_of_uri(value, place)
    return pictures.bytes_of_base64(value, place)


def read_messages(messages: object) -> Placed:
    """The only part of chat messages, in vLLM's form. Raises InvalidInput for none and for several."""
    parts = list(parts_of(messages))
    if len(parts) != 1:
        raise InvalidInput(ONE_PART.format(count=len(parts)), field="messages")
    ((place, part),) = parts
    if isinstance(part, str):
        return Placed(place, text(part, place))
    kind = part.get("type")
    if kind == "text":
        check_keys(part, ("type", "text"), place)
        return Placed(place, text(part.get("text"), f"{place}.text"))
    if kind == "image_url":
        check_keys(part, ("type", "image_url"), place)
        return read_image_url(part.get("image_url"), f"{place}.image_url")
    raise InvalidInput(
        'each part is {"type": "text", "text": "…"} or {"type": "image_url", "image_url": {"url": '
        '"data:image/jpeg;base64,…"}}',
        field=place,
    )


def read_image_url(value: object, place: str) -> Placed:
    """The picture of a part; `detail`, which is for models that see pictures in tiles, changes nothing."""
    if isinstance(value, dict):
        check_keys(value, ("url", "detail"), place)
        value, place = value.get("url"), f"{place}.url"
    return Placed(place, image(pictures.bytes_of_uri(read_text(value, place), place)))


def parts_of(messages: object) -> Iterator[tuple[str, Any]]:
    """Each part of each message with its place: a string or an object."""
    if not isinstance(messages, list):
        raise InvalidInput('messages is a list of {"role": "user", "content": …}', field="messages")
    for i, message in enumerate(messages):
        place = f"messages[{i}]"
        if not isinstance(message, dict):
            raise InvalidInput('each message is {"role": "user", "content": …}', field=place)
        check_keys(message, ("role", "content", "name"), place)
        content = message.get("content")
        if isinstance(content, str):
            yield f"{place}.content", content
            continue
        if not isinstance(content, list):
            raise InvalidInput("content is a string or a list of parts", field=f"{place}.content")
        for k, part in enumerate(content):
            if not isinstance(part, dict):
                raise InvalidInput("each part of content is an object", field=f"{place}.content[{k}]")
            yield f"{place}.content[{k}]", part


def check_keys(given: dict[str, Any], known: tuple[str, ...], place: str) -> None:
    """Raises InvalidInput for an object with other keys than these."""
    for key in given:
        if key not in known:
            raise InvalidInput(f"unknown key {named([key])}; the known ones are {named(known)}", field=place)


def text(words: object, place: str) -> clip_pb2.EmbedInput:
    """The input of a text. Raises InvalidInput for a value that is none."""
    return clip_pb2.EmbedInput(text=read_text(words, place))


def image(content: bytes) -> clip_pb2.EmbedInput:
    """The input of an image file."""
    return clip_pb2.EmbedInput(image=common_pb2.Image(content=content))


def is_number(value: object) -> bool:
    """Whether a JSON value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def named(keys: Collection[str]) -> str:
    """The first eight keys; `no fields` for none."""
    names = [repr(shown(key)) for key in itertools.islice(keys, 8)]
    return ", ".join(names + ["…"] * (len(keys) > 8)) or "no fields"
