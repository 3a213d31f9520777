from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from clipserve.v1 import clip_pb2, common_pb2
from clipserve_gateway import errors
from clipserve_gateway.convert.status import Code, item_status
from clipserve_gateway.http_adapter.openai.embeddings import (
    FIELDS,
    Asked,
    read_embeddings,
    write_embeddings,
)
from clipserve_gateway.http_adapter.openai.errors import openai_error
from clipserve_gateway.settings import Settings
from hypothesis import given, settings
from hypothesis import strategies as st

LIMITS = Settings().limits
VECTORS = np.random.default_rng(0).standard_normal((2, 8)).astype("<f4")
ASKED = Asked(("input[0]", "input[1]"), "float", None)


def read(**fields) -> tuple[clip_pb2.EmbedRequest, Asked]:
    return read_embeddings({"model": "demo", "input": ["a", "b"], **fields}, LIMITS)


def refused(**fields) -> errors.ClipserveError:
    with pytest.raises(errors.ClipserveError) as raised:
        read(**fields)
    return raised.value


def response(*changed: dict) -> clip_pb2.EmbedResponse:
    """Two results, with changes of their fields."""
    answer = clip_pb2.EmbedResponse(model=common_pb2.ModelRef(name="demo"))
    for i, vector in enumerate(VECTORS):
        fields = changed[i] if i < len(changed) else {}
        answer.results.add(**{"embedding": {"float32_le": vector.tobytes()}, "tokens": 3, **fields})
    return answer


def written(answer: clip_pb2.EmbedResponse, asked: Asked = ASKED) -> dict:
    return json.loads(write_embeddings(answer, asked, LIMITS))


def test_a_body_becomes_a_request():
    request, asked = read(
        dimensions=4,
        allow_truncation=True,
        normalized=False,
        encoding_format="base64",
        truncate="NONE",
        user="me",
        input_type="query",
    )
    assert request == clip_pb2.EmbedRequest(
        model="demo",
        inputs=[clip_pb2.EmbedInput(text="a"), clip_pb2.EmbedInput(text="b")],
        raw=True,
        format=common_pb2.EMBEDDING_FORMAT_FLOAT32_LE,
        dimensions=4,
        allow_truncation=True,
    )
    assert asked == Asked(("input[0]", "input[1]"), "base64", False)


def test_null_means_no_field():
    request, asked = read(
        dimensions=None,
        allow_truncation=None,
        normalized=None,
        encoding_format=None,
        truncate=None,
        user=None,
        messages=None,
    )
    assert (request, asked) == read()
    assert asked.encoding_format == "float"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"encoding_format": "int8"}, "encoding_format", "'int8'; use float or base64"),
        ({"encoding_format": 1}, "encoding_format", "must be a string"),
        ({"dimensions": 0}, "dimensions", "from 1 to"),
        ({"dimensions": -1}, "dimensions", "from 1 to the model's embed_dim"),
        ({"dimensions": 10**30}, "dimensions", "from 1 to"),
        ({"dimensions": 4.5}, "dimensions", "must be an integer"),
        ({"dimensions": True}, "dimensions", "must be an integer"),
        ({"allow_truncation": "yes"}, "allow_truncation", "must be true or false"),
        ({"normalized": 1}, "normalized", "must be true or false"),
        ({"truncate": "START"}, "truncate", '"END"'),
        ({"truncate": 1}, "truncate", '"END"'),
        ({"user": {}}, "user", "must be a string"),
        ({"temperature": 1}, "temperature", "unknown field 'temperature'"),
        ({"priority": 1}, "priority", "x-clipserve-priority"),
        ({"embedding_type": "binary"}, "embedding_type", "encoding_format"),
        ({"x" * 1000: 1}, "x" * 80, "unknown field"),
    ],
)
def test_bad_fields_are_refused_by_name(fields, field, words):
    error = refused(**fields)
    assert error.reason == "INVALID_INPUT"
    assert error.field == field
    assert words in error.message
    assert len(error.message) < 400


@pytest.mark.parametrize("model", ["", None])
def test_a_request_without_a_model_is_not_found(model):
    error = refused(model=model)
    assert (error.reason, error.field) == ("MODEL_NOT_FOUND", "model")


def test_floats_are_the_exact_numbers():
    answer = written(response())
    assert answer == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": answer["data"][i]["embedding"]} for i in range(2)
        ],
        "model": "demo",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }
    numbers = np.array([each["embedding"] for each in answer["data"]], np.float32)
    np.testing.assert_array_equal(numbers, VECTORS)


def test_base64_holds_little_endian_floats():
    answer = written(response(), Asked(ASKED.places, "base64", None))
    decoded = [np.frombuffer(base64.b64decode(each["embedding"]), "<f4") for each in answer["data"]]
    np.testing.assert_array_equal(decoded, VECTORS)


def test_cut_texts_are_answered_with_a_warning():
    answer = written(response({}, {"truncated": True}))
    assert [each.get("truncated") for each in answer["data"]] == [None, True]
    (warning,) = answer["warnings"]
    assert (warning["code"], warning["param"]) == ("TEXT_TRUNCATED", "input[1]")
    assert warning["message"].startswith("input[1] is longer than the model's context; the rest was cut")


def test_strings_that_look_like_paths_are_answered_with_a_warning():
    request, asked = read(input=["demo/photos/cat.jpg", {"text": "dog.jpg"}])
    assert [each.text for each in request.inputs] == ["demo/photos/cat.jpg", "dog.jpg"]
    (warning,) = written(response(), asked)["warnings"]
    assert (warning["code"], warning["param"]) == ("TEXT_LIKE_PATH", "input[0]")
    assert "input[0] looks like the path of a file" in warning["message"]
    assert "reads no files" in warning["message"]
    assert '{"text": …}' in warning["message"]


def test_warnings_name_the_first_places_and_count_all():
    asked = Asked(ASKED.places, "float", None, tuple(f"input[{i}]" for i in range(20)))
    (warning,) = written(response(), asked)["warnings"]
    assert "input[7], … (20 in all) look like paths" in warning["message"]


def test_cut_texts_are_refused_where_the_caller_forbids_cutting():
    with pytest.raises(errors.LimitExceeded, match="truncate is false") as raised:
        written(response({}, {"truncated": True}), Asked(ASKED.places, "float", False))
    assert raised.value.field == "input[1]"


def test_the_first_failed_input_fails_the_call():
    status = item_status(errors.ImageUnreadable("it is damaged", field="image.content"), "inputs[1]")
    with pytest.raises(errors.ImageUnreadable, match="it is damaged") as raised:
        written(response({}, {"status": status}))
    assert ASKED.param(raised.value.field) == "input[1]"


@pytest.mark.parametrize(
    ("message", "param", "sent"),
    [
        ("it is damaged", "input[1]", "input[1]: it is damaged"),
        ("input[1] is too long", "input[1]", "input[1] is too long"),
        ("not known", "model", "not known"),
    ],
)
def test_the_message_about_one_input_begins_with_its_place(message, param, sent):
    body = json.loads(openai_error(Code.INVALID_ARGUMENT, errors.InvalidInput(message), param))
    assert (body["error"]["message"], body["error"]["param"]) == (sent, param)


def test_the_error_counts_the_other_failed_inputs():
    status = item_status(errors.InferenceFailed("no"), "inputs[0]")
    with pytest.raises(errors.InferenceFailed) as raised:
        written(response({"status": status}, {"status": status}))
    assert raised.value.message.endswith("(1 more inputs failed)")


def test_an_answer_that_is_too_large_is_refused_before_it_is_written():
    limits = Settings(max_message_bytes=2**20).limits
    answer = clip_pb2.EmbedResponse()
    answer.results.add(embedding={"float32_le": bytes(2**19)})
    with pytest.raises(errors.LimitExceeded, match="base64"):
        write_embeddings(answer, Asked(("input",), "float", None), limits)
    assert write_embeddings(answer, Asked(("input",), "base64", None), limits)


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ("inputs[1].image.content", "input[1]"),
        ("inputs[7].text", "inputs[7].text"),
        ("inputs", "input"),
        ("model", "model"),
        ("", ""),
    ],
)
def test_errors_name_the_field_as_the_body_has_it(field, param):
    assert ASKED.param(field) == param


KEYS = st.sampled_from(["text", "image", "type", "image_url", "url", "role", "content", "more"])
TEXTS = st.sampled_from(
    ["a dog", "data:image/png;base64,aGVsbG8=", "data:", "s3://a/b", "image_url", "\ud800"]
)
ANYTHING = st.recursive(
    st.sampled_from([None, True, 1, -1.5, 2**70]) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=3), ANYTHING, st.booleans())
def test_whatever_the_body_is_it_is_read_or_refused(body, content, messages):
    """And the error, which may repeat the caller's words, can be sent."""
    given_content = {"messages": [{"role": "user", "content": content}]} if messages else {"input": content}
    try:
        read_embeddings({"model": "demo", **given_content, **body}, LIMITS)
    except errors.ClipserveError as error:
        openai_error(Code.INVALID_ARGUMENT, error, error.field)
