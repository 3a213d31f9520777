from __future__ import annotations

import numpy as np
import pytest
from clipserve.v1 import common_pb2
from clipserve_gateway.convert.embedding import read_embedding, write_embedding
from clipserve_gateway.errors import InvalidEmbedding
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

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
    ],
)
def test_what_is_no_embedding_is_refused(message):
    with pytest.raises(InvalidEmbedding) as raised:
        read_embedding(message, "embedding")
    assert raised.value.field.startswith("embedding")
