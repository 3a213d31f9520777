"""Formats, dimensions and tokens of Embed, over real gRPC, around a fake encoder."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from clipserve.v1 import clip_pb2, common_pb2
from clipserve_gateway.convert.embedding import to_binary, to_int8, to_ubinary, to_uint8
from clipserve_gateway.inputs.openai_tokenizer import OpenAITokenizer

from testing.fakes import DIM
from testing.wire import refusal

WORDS = ("a dog", "", "two cats on a mat", "word " * 500)
INT8 = common_pb2.EMBEDDING_FORMAT_INT8
BINARY = common_pb2.EMBEDDING_FORMAT_BINARY


def texts(*words, **fields) -> clip_pb2.EmbedRequest:
    return clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text=each) for each in words], **fields)


def floats(response) -> np.ndarray:
    return np.array([np.frombuffer(result.embedding.float32_le, "<f4") for result in response.results])


@pytest.mark.parametrize(
    ("format", "field", "dtype", "quantize"),
    [
        (common_pb2.EMBEDDING_FORMAT_INT8, "int8", np.int8, to_int8),
        (common_pb2.EMBEDDING_FORMAT_UINT8, "uint8", np.uint8, to_uint8),
        (common_pb2.EMBEDDING_FORMAT_BINARY, "binary", np.int8, to_binary),
        (common_pb2.EMBEDDING_FORMAT_UBINARY, "ubinary", np.uint8, to_ubinary),
    ],
)
async def test_small_forms_are_those_of_the_normalized_embeddings(clip, format, field, dtype, quantize):
    plain = floats(await clip.Embed(texts(*WORDS)))
    small = await clip.Embed(texts(*WORDS, format=format))
    assert small.normalized
    for result, row in zip(small.results, plain, strict=True):
        assert result.embedding.WhichOneof("data") == field
        numbers = np.frombuffer(getattr(result.embedding, field), dtype)
        np.testing.assert_array_equal(numbers, quantize(row))


async def test_the_first_dimensions_are_normalized_again(clip):
    whole = floats(await clip.Embed(texts("a dog")))
    response = await clip.Embed(texts("a dog", dimensions=3, allow_truncation=True))
    first = whole[:, :3]
    np.testing.assert_allclose(floats(response), first / np.linalg.norm(first), atol=1e-6)
    assert response.dimensions == 3
    assert response.model.embed_dim == DIM


async def test_raw_dimensions_are_the_encoders_first_numbers(clip):
    whole = floats(await clip.Embed(texts("a dog", raw=True)))
    first = await clip.Embed(texts("a dog", raw=True, dimensions=3, allow_truncation=True))
    np.testing.assert_array_equal(floats(first), whole[:, :3])
    assert not first.normalized


async def test_an_answer_tells_its_dimensions_without_being_asked_for_fewer(clip):
    assert (await clip.Embed(texts("a dog"))).dimensions == DIM


async def test_truncation_and_a_small_form_go_together(clip):
    whole = floats(await clip.Embed(texts("a dog", dimensions=4, allow_truncation=True)))
    small = await clip.Embed(texts("a dog", dimensions=4, allow_truncation=True, format=INT8))
    np.testing.assert_array_equal(np.frombuffer(small.results[0].embedding.int8, np.int8), to_int8(whole[0]))


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"dimensions": 4}, "dimensions", "allow_truncation"),
        ({"dimensions": DIM + 1, "allow_truncation": True}, "dimensions", f"have {DIM}"),
        ({"dimensions": 2**32 - 1, "allow_truncation": True}, "dimensions", f"have {DIM}"),
        ({"format": BINARY, "dimensions": 4, "allow_truncation": True}, "format", "use int8 (--format int8)"),
        ({"format": INT8, "raw": True}, "raw", "int8 is for normalized"),
        ({"format": BINARY, "raw": True}, "raw", "leave raw (--raw) unset"),
        ({"format": 8}, "format", "EMBEDDING_FORMAT_UBINARY"),
    ],
)
async def test_what_does_not_go_together_is_refused_by_field(clip, fields, field, words):
    call = clip.Embed(texts("a dog", **fields))
    code, _, paths = await refusal(call)
    assert (code, paths) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert words in await call.details()


async def test_a_stream_refuses_one_batch_and_answers_the_next(clip):
    async def batches():
        yield clip_pb2.EmbedStreamRequest(batch_id=1, request=texts("a dog", dimensions=4))
        yield clip_pb2.EmbedStreamRequest(batch_id=2, request=texts("a dog", format=INT8))

    refused, answered = [answer async for answer in clip.EmbedStream(batches())]
    assert (refused.status.code, refused.status.field) == (3, "request.dimensions")
    assert len(answered.response.results[0].embedding.int8) == DIM


async def test_tokens_are_those_that_the_model_read(clip, picture):
    inputs = [clip_pb2.EmbedInput(text=each) for each in WORDS]
    inputs += [
        clip_pb2.EmbedInput(image=common_pb2.Image(content=picture().content)),
        clip_pb2.EmbedInput(text="a dog"),
        clip_pb2.EmbedInput(image=common_pb2.Image(content=b"broken")),
    ]
    response = await clip.Embed(clip_pb2.EmbedRequest(inputs=inputs))
    expected = [len(tokens.ids) for tokens in OpenAITokenizer().encode(WORDS)]
    assert expected == [4, 2, 7, 77]
    assert [result.tokens for result in response.results] == [*expected, 0, 4, 0]


async def test_models_tell_no_dimensions_that_they_were_not_trained_for(clip):
    info = await clip.GetServerInfo(clip_pb2.GetServerInfoRequest())
    assert list(info.models[0].matryoshka_dims) == []
