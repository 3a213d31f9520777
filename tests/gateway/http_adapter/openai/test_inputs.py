from __future__ import annotations

import base64

import pytest
from clipserve_gateway import errors
from clipserve_gateway.http_adapter.openai.inputs import read_inputs
from clipserve_gateway.settings import Settings

LIMITS = Settings(max_items_per_call=4).limits
CONTENT = b"a picture"
BASE64 = base64.b64encode(CONTENT).decode()
URI = f"data:image/png;base64,{BASE64}"


def read(**body) -> list[tuple[str, str | bytes]]:
    """The place and the text or picture of each input."""
    return [
        (each.place, each.input.text if each.input.HasField("text") else each.input.image.content)
        for each in read_inputs(body, LIMITS)
    ]


def refused(**body) -> errors.ClipserveError:
    with pytest.raises(errors.ClipserveError) as raised:
        read_inputs(body, LIMITS)
    return raised.value


def test_one_string_is_one_text():
    assert read(input="a dog") == [("input", "a dog")]
    assert read(input="") == [("input", "")]


def test_texts_and_pictures_mix_in_any_form():
    items = ["a dog", URI, {"text": URI}, {"image": BASE64}]
    assert read(input=items) == [
        ("input[0]", "a dog"),
        ("input[1]", CONTENT),
        ("input[2]", URI),
        ("input[3]", CONTENT),
    ]
    assert read(input={"image": URI}) == [("input", CONTENT)]


@pytest.mark.parametrize("ids", [[1, 2], [[1, 2], [3]], [[1.5]], ["a", [1]]])
def test_token_ids_are_refused_with_the_clients_option(ids):
    assert "check_embedding_ctx_length=False" in refused(input=ids).message


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        (None, "input", "set input"),
        ([], "input", "must not be empty"),
        (["a", None], "input[1]", "null is not an input"),
        ([True], "input[0]", "true is not an input"),
        (["a", 1], "input[1]", "a number is not an input"),
        (["a", ["b"]], "input[1]", "a list in a list"),
        ({}, "input", "no fields"),
        ([{"text": "a", "image": URI}], "input[0]", "exactly one"),
        ([{"bytes": BASE64}], "input[0]", "'bytes'"),
        ([{"text": 1}], "input[0].text", "must be a string"),
        ([{"image": None}], "input[0].image", "must be a string"),
        ([{"image": "https://example.com/a.jpg"}], "input[0].image", "fetches nothing"),
        ([{"image": "x.jpg"}], "input[0].image", "base64"),
        (["a", "https://example.com/a.jpg"], "input[1]", "fetches nothing"),
        (["data:text/plain,a"], "input[0]", "text/plain"),
        (["a", "\ud800"], "input[1]", "surrogate"),
    ],
)
def test_other_inputs_are_refused_with_their_place(given, field, words):
    error = refused(input=given)
    assert error.field == field
    assert words in error.message


def test_too_many_inputs_are_refused_with_the_clients_options():
    error = refused(input=["a"] * 5)
    assert error.reason == "LIMIT_EXCEEDED"
    assert "chunk_size=4" in error.message
    assert "embed_batch_size=4" in error.message


def user(content) -> dict:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("content", "place", "value"),
    [
        ("a dog", "messages[0].content", "a dog"),
        ([{"type": "text", "text": "https://example.com"}], "messages[0].content[0]", "https://example.com"),
        (
            [{"type": "image_url", "image_url": {"url": URI, "detail": "auto"}}],
            "messages[0].content[0].image_url.url",
            CONTENT,
        ),
        ([{"type": "image_url", "image_url": URI}], "messages[0].content[0].image_url", CONTENT),
    ],
)
def test_a_message_is_its_only_part(content, place, value):
    assert read(messages=[user(content)]) == [(place, value)]


TEXT, PICTURE = {"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": URI}}


@pytest.mark.parametrize(
    ("messages", "field", "words"),
    [
        ([], "messages", "0 parts"),
        ([user([])], "messages", "0 parts"),
        ([user([TEXT, PICTURE])], "messages", "2 parts"),
        ([{"role": "system", "content": "b"}, user([TEXT])], "messages", "2 parts"),
        ("a", "messages", "list"),
        (["a"], "messages[0]", "each message"),
        ([{"role": "user", "content": "a", "tool_calls": []}], "messages[0]", "'tool_calls'"),
        ([{"role": "user"}], "messages[0].content", "string or a list"),
        ([user(["a"])], "messages[0].content[0]", "object"),
        ([user([{"type": "text", "text": 1}])], "messages[0].content[0].text", "must be a string"),
        ([user([{"type": "input_audio"}])], "messages[0].content[0]", "each part"),
        ([user([{"type": "text", "text": "a", "cache": 1}])], "messages[0].content[0]", "'cache'"),
        ([user([{"type": "image_url"}])], "messages[0].content[0].image_url", "null"),
        (
            [user([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}])],
            "messages[0].content[0].image_url.url",
            "fetches nothing",
        ),
    ],
)
def test_other_messages_are_refused_with_their_place(messages, field, words):
    error = refused(messages=messages)
    assert error.field == field
    assert words in error.message


def test_input_and_messages_exclude_each_other():
    assert refused(input="a", messages=[user("a")]).field == "messages"
