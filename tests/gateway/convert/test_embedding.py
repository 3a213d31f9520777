from __future__ import annotations

import numpy as np
import pytest
from clipserve.v1 import common_pb2
from clipserve_gateway.convert.embedding import (
    embedding_bytes,
    read_embedding,
    to_binary,
    to_int8,
    to_ubinary,
    to_uint8,
    write_embedding,
)
from clipserve_gateway.errors import InvalidEmbedding
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

BINARY = (common_pb2.EMBEDDING_FORMAT_BINARY, common_pb2.EMBEDDING_FORMAT_UBINARY)
UNIT_VECTORS = (
    arrays.arrays(
        np.float32,
        st.integers(1, 16).map(lambda bytes_: 8 * bytes_),
        elements=st.floats(-1, 1, width=32),
    )
    .filter(lambda vector: np.linalg.norm(vector) > 1e-3)
    .map(lambda vector: (vector / np.linalg.norm(vector)).astype(np.float32))
)
VECTORS = arrays.arrays(
    np.float32,
    st.integers(1, 32),
    elements=st.floats(allow_nan=False, allow_infinity=False, width=32, allow_subnormal=False),
)


@given(VECTORS)
def test_what_is_read_has_length_one_and_the_same_direction(vector):
    norm = np.linalg.norm(vector.astype(np.float64))
    message = common_pb2.Embedding(float32_le=vector.astype("<f4").tobytes())
    if norm == 0:
        with pytest.raises(InvalidEmbedding):
            read_embedding(message, "embedding")
    else:
        np.testing.assert_allclose(read_embedding(message, "embedding"), vector / norm, atol=1e-6)


@pytest.mark.parametrize(
    ("format", "tolerance"),
    [
        (common_pb2.EMBEDDING_FORMAT_FLOAT32_LE, 1e-7),
        (common_pb2.EMBEDDING_FORMAT_FLOAT16_LE, 1e-3),
        (common_pb2.EMBEDDING_FORMAT_FLOAT_LIST, 1e-7),
        (common_pb2.EMBEDDING_FORMAT_UNSPECIFIED, 1e-7),
        (common_pb2.EMBEDDING_FORMAT_INT8, 1 / 100),
        (common_pb2.EMBEDDING_FORMAT_UINT8, 1 / 100),
    ],
)
def test_every_format_can_be_read_again(format, tolerance):
    vector = np.random.default_rng(0).standard_normal(16).astype(np.float32)
    vector /= np.linalg.norm(vector)
    np.testing.assert_allclose(read_embedding(write_embedding(vector, format), "e"), vector, atol=tolerance)


@pytest.mark.parametrize(
    "message",
    [
        common_pb2.Embedding(),
        common_pb2.Embedding(float32_le=b""),
        common_pb2.Embedding(float32_le=b"12345"),
        common_pb2.Embedding(float16_le=b"123"),
        common_pb2.Embedding(values=common_pb2.FloatList()),
        common_pb2.Embedding(float16_le=np.array([np.inf], "<f2").tobytes()),
        common_pb2.Embedding(values=common_pb2.FloatList(values=[1, float("nan")])),
        common_pb2.Embedding(int8=b""),
        common_pb2.Embedding(int8=bytes(8)),
        common_pb2.Embedding(uint8=b""),
        common_pb2.Embedding(uint8=bytes([128] * 8)),
        common_pb2.Embedding(binary=b"12345678"),
        common_pb2.Embedding(ubinary=b""),
    ],
)
def test_what_is_no_embedding_is_refused(message):
    with pytest.raises(InvalidEmbedding) as raised:
        read_embedding(message, "embedding")
    assert raised.value.field.startswith("embedding")


def test_the_numbers_of_each_format_are_these():
    vector = np.array([0.5, -0.5, 0.003, -0.003, 0.0, -0.0, 0.5039371, -0.5], np.float32)
    assert to_int8(vector).tolist() == [64, -64, 0, 0, 0, 0, 64, -64]
    assert to_uint8(vector).tolist() == [192, 64, 128, 128, 128, 128, 192, 64]
    assert to_ubinary(vector).tolist() == [0b10100010]
    assert to_binary(vector).tolist() == [0b10100010 - 128]


def test_the_ends_of_the_range_are_not_clipped():
    assert to_int8(np.array([1, -1], np.float32)).tolist() == [127, -127]
    assert to_uint8(np.array([1, -1], np.float32)).tolist() == [255, 1]


def test_a_length_above_one_by_rounding_does_not_overflow():
    over = np.nextafter(np.float32(1), np.float32(2))
    assert to_int8(np.array([over * 1.01, -over * 1.01], np.float32)).tolist() == [127, -127]


@given(UNIT_VECTORS)
def test_integers_differ_from_the_numbers_by_half_a_step_at_most(vector):
    half_step = 0.5 / 127 + 1e-6
    np.testing.assert_allclose(to_int8(vector) / 127, vector, atol=half_step)
    np.testing.assert_allclose((to_uint8(vector).astype(np.float64) - 128) / 127, vector, atol=half_step)


@given(UNIT_VECTORS, st.data())
def test_dot_products_of_integers_are_those_of_the_embeddings(vector, data):
    """Whatever two embeddings: the error of a dot product is at most that of all steps together."""
    other = np.roll(vector, data.draw(st.integers(0, len(vector))))
    integers = to_int8(vector).astype(np.int64) @ to_int8(other).astype(np.int64) / 127**2
    bound = 2 * np.sqrt(len(vector)) / 254 + len(vector) / 254**2
    assert abs(integers - float(vector @ other)) <= bound + 1e-5


@given(UNIT_VECTORS)
def test_bits_are_packed_as_numpy_and_sentence_transformers_pack_them(vector):
    """quantize_embeddings of sentence-transformers: packbits(x > 0), and minus 128 as int8 for `binary`."""
    packed = np.packbits(vector[np.newaxis] > 0).reshape(1, -1)[0]
    np.testing.assert_array_equal(to_ubinary(vector), packed)
    np.testing.assert_array_equal(to_binary(vector), (packed.astype(np.int16) - 128).astype(np.int8))


@given(UNIT_VECTORS)
def test_uint8_is_int8_plus_128_as_in_sentence_transformers(vector):
    np.testing.assert_array_equal(to_uint8(vector).astype(np.int16), to_int8(vector).astype(np.int16) + 128)


@given(UNIT_VECTORS, st.sampled_from(["int8", "uint8"]))
def test_integers_are_read_as_what_they_stand_for(vector, kind):
    format = {"int8": common_pb2.EMBEDDING_FORMAT_INT8, "uint8": common_pb2.EMBEDDING_FORMAT_UINT8}[kind]
    message = write_embedding(vector, format)
    numbers = to_int8(vector).astype(np.float64)
    if not numbers.any():
        with pytest.raises(InvalidEmbedding):
            read_embedding(message, "embedding")
        return
    np.testing.assert_allclose(
        read_embedding(message, "embedding"), numbers / np.linalg.norm(numbers), atol=1e-6
    )


@pytest.mark.parametrize("format", BINARY)
def test_bits_are_refused_as_input_with_what_to_send_instead(format):
    message = write_embedding(np.eye(8, dtype=np.float32)[0], format)
    with pytest.raises(InvalidEmbedding, match="send float32_le") as raised:
        read_embedding(message, "points[3].embedding")
    assert raised.value.field == f"points[3].embedding.{message.WhichOneof('data')}"


@given(UNIT_VECTORS, st.sampled_from(common_pb2.EmbeddingFormat.values()))
def test_an_answer_is_no_larger_than_it_was_checked_for(vector, format):
    framing = 16
    assert write_embedding(vector, format).ByteSize() <= embedding_bytes(len(vector), format) + framing
