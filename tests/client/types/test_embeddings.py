"""What the small forms of embeddings stand for."""

from __future__ import annotations

import numpy as np
import pytest
from clipserve import EmbedResult, InvalidInput, dequantize
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays


def test_each_form_stands_for_these_numbers():
    third = 1 / np.sqrt(8)
    bits = [third, -third, third, -third, -third, -third, -third, third]
    assert dequantize(np.array([[127, -127, 0]], np.int8), "int8").tolist() == [[1, -1, 0]]
    assert dequantize(np.array([[255, 1, 128]], np.uint8), "uint8").tolist() == [[1, -1, 0]]
    np.testing.assert_allclose(dequantize(np.array([[0b10100001]], np.uint8), "ubinary"), [bits])
    np.testing.assert_allclose(dequantize(np.array([[0b10100001 - 128]], np.int8), "binary"), [bits])
    assert dequantize(np.array([0.5], np.float16), "float16").dtype == np.float32


@given(arrays.arrays(np.uint8, st.tuples(st.integers(0, 3), st.integers(1, 8))))
def test_hamming_distances_of_bits_are_dot_products_of_signs(packed):
    signs = dequantize(packed, "ubinary")
    np.testing.assert_allclose(np.linalg.norm(signs, axis=1), np.ones(len(packed)), atol=1e-5)
    for left, bits in zip(signs, packed, strict=True):
        distance = int(np.unpackbits(bits ^ packed[0]).sum())
        assert left @ signs[0] == pytest.approx(1 - 2 * distance / len(left), abs=1e-5)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(0, 3), st.integers(1, 8))))
def test_binary_is_ubinary_minus_128(packed):
    offset = (packed.astype(np.int16) - 128).astype(np.int8)
    np.testing.assert_array_equal(dequantize(offset, "binary"), dequantize(packed, "ubinary"))


def test_a_form_that_is_none_is_refused():
    with pytest.raises(ValueError, match="format is 'int4'; it must be one of float32, float16, int8"):
        dequantize(np.zeros((1, 8), np.int8), "int4")


@pytest.mark.parametrize(("dtype", "format"), [("int8", "uint8"), ("uint8", "binary"), ("float32", "int8")])
def test_an_array_of_another_form_is_refused(dtype, format):
    with pytest.raises(TypeError, match=f"{format} embeddings are .*, not {dtype}"):
        dequantize(np.zeros((1, 8), dtype), format)


def test_rows_that_failed_are_not_numbers_in_floats():
    embeddings = np.array([[127, 0], [0, 0]], np.int8)
    result = EmbedResult(embeddings, None, True, errors={1: InvalidInput("bad")}, format="int8")
    assert result.floats[0].tolist() == [1, 0]
    assert np.isnan(result.floats[1]).all()
    assert embeddings[1].tolist() == [0, 0]


def test_float_rows_are_not_changed_by_reading_them_as_floats():
    embeddings = np.ones((2, 2), np.float32)
    result = EmbedResult(embeddings, None, True, errors={1: InvalidInput("bad")})
    assert np.isnan(result.floats[1]).all()
    assert embeddings.tolist() == [[1, 1], [1, 1]]
