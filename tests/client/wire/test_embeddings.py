from __future__ import annotations

import numpy as np
import pytest
from clipserve import InternalError
from clipserve.v1 import common_pb2
from clipserve.wire.embeddings import read_embedding, read_row, write_embedding
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=20))
def test_embeddings_come_back_to_the_bit(numbers):
    expected = np.array(numbers, np.float32)
    np.testing.assert_array_equal(read_embedding(write_embedding(numbers)), expected)
    np.testing.assert_array_equal(read_embedding(write_embedding(expected.astype(">f4"))), expected)


def test_every_way_of_writing_embeddings_is_read():
    half = common_pb2.Embedding(float16_le=np.array([0.5, -2], "<f2").tobytes())
    plain = common_pb2.Embedding(values=common_pb2.FloatList(values=[0.5, -2]))
    for message in (half, plain):
        embedding = read_embedding(message)
        assert embedding.dtype == np.float32
        assert embedding.tolist() == [0.5, -2]


@pytest.mark.parametrize("embedding", [[], [[1.0]], 5.0, [float("nan")], [float("inf")], [1e300]])
def test_embeddings_of_other_shapes_or_numbers_are_refused(embedding):
    with pytest.raises(ValueError, match="embedding"):
        write_embedding(embedding)


def test_the_zero_point_of_uint8_is_not_taken_for_numbers():
    with pytest.raises(ValueError, match="dequantize"):
        write_embedding(np.array([200, 100], np.uint8))


def test_int8_is_written_as_its_numbers():
    assert read_embedding(write_embedding(np.array([-127, 5], np.int8))).tolist() == [-127, 5]


@pytest.mark.parametrize(
    ("message", "format", "words"),
    [
        (common_pb2.Embedding(int8=bytes(8)), "uint8", "as int8 instead of uint8"),
        (common_pb2.Embedding(float32_le=bytes(32)), "int8", "as float32_le instead of int8"),
        (common_pb2.Embedding(), "int8", "as None instead of int8"),
        (common_pb2.Embedding(int8=bytes(7)), "int8", "7 numbers, not 8"),
        (common_pb2.Embedding(ubinary=bytes(8)), "ubinary", "8 numbers, not 1"),
        (common_pb2.Embedding(float16_le=bytes(15)), "float16", "7 numbers, not 8"),
    ],
)
def test_a_row_of_another_form_or_size_than_asked_for_is_an_error(message, format, words):
    with pytest.raises(InternalError, match=words):
        read_row(message, format, 8)
