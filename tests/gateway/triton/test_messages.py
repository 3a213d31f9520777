"""Messages of an inference: what Triton reads of a request, and what is accepted as its answer."""

from __future__ import annotations

import numpy as np
import pytest
from clipserve_gateway.errors import InferenceFailed
from clipserve_gateway.triton.messages import INPUT, OUTPUT, embeddings_of, request_of, varint
from google.protobuf.internal.encoder import _VarintBytes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tritonclient.grpc import InferInput, service_pb2

BATCHES = arrays.arrays(
    st.sampled_from([np.dtype(np.uint8), np.dtype(np.int32)]), arrays.array_shapes(min_dims=2, max_dims=4)
)


@given(BATCHES)
def test_a_request_holds_what_tritons_own_client_would_send(batch):
    found = service_pb2.ModelInferRequest.FromString(request_of("clip_image", "7", batch))
    assert (found.model_name, found.model_version) == ("clip_image", "7")
    expected = InferInput(INPUT, list(batch.shape), "UINT8" if batch.dtype == np.uint8 else "INT32")
    expected.set_data_from_numpy(batch)
    assert list(found.inputs) == [expected._get_tensor()]
    assert list(found.raw_input_contents) == [expected._get_content()]
    assert (found.model_name, [it.name for it in found.outputs]) == ("clip_image", [OUTPUT])


def test_a_batch_need_not_be_contiguous():
    batch = np.arange(12, dtype=np.int32).reshape(3, 4)[:, ::2]
    [content] = service_pb2.ModelInferRequest.FromString(request_of("m", "1", batch)).raw_input_contents
    assert np.frombuffer(content, np.int32).tolist() == [0, 2, 4, 6, 8, 10]


@given(st.integers(0, 1 << 63))
def test_numbers_are_protobufs_own(number):
    assert varint(number) == _VarintBytes(number)


def answer(*shape: int, datatype: str = "FP32", numbers: int = 6) -> service_pb2.ModelInferResponse:
    found = service_pb2.ModelInferResponse(model_name="clip_text")
    found.outputs.add(name=OUTPUT, datatype=datatype, shape=shape)
    found.raw_output_contents.append(np.arange(numbers, dtype="<f4").tobytes())
    return found


def test_embeddings_are_read_row_by_row():
    assert embeddings_of(answer(2, 3), 2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]


WRONG = {
    "turned": answer(3, 2),
    "flat": answer(6),
    "half precision": answer(2, 3, datatype="FP16"),
    "short": answer(2, 3, numbers=5),
    "empty": service_pb2.ModelInferResponse(),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_any_other_answer_is_refused(wrong):
    with pytest.raises(InferenceFailed):
        embeddings_of(wrong, 2, 3)
