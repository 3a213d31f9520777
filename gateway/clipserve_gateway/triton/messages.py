"""The messages of an inference: builds the request from a batch, reads the embeddings of the answer."""

from __future__ import annotations

import numpy as np
from tritonclient.grpc import service_pb2

from clipserve_gateway.errors import InferenceFailed
from clipserve_gateway.triton.encoder import Rows
from clipserve_gateway.types import Floats

INPUT, OUTPUT = "INPUT__0", "OUTPUT__0"
TYPES = {np.dtype(np.uint8): "UINT8", np.dtype(np.int32): "INT32"}
"""Triton's names of the data types of batches."""
RAW_INPUT = service_pb2.ModelInferRequest.DESCRIPTOR.fields_by_name["raw_input_contents"].number
DELIMITED = 2
"""Protobuf's wire type of bytes."""


def request_of(model: str, version: str, batch: Rows) -> bytes:
    """A serialized ModelInferRequest for one version of a model.

    Copies the batch once; a message object would copy it three times. Two serialized messages in sequence are
    one message with the fields of both.
    """
    head = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    head.inputs.add(name=INPUT, datatype=TYPES[batch.dtype], shape=batch.shape)
    head.outputs.add(name=OUTPUT)
    raw = varint(RAW_INPUT << 3 | DELIMITED), varint(batch.nbytes), np.ascontiguousarray(batch).data
    return b"".join((head.SerializeToString(), *raw))


def varint(number: int) -> bytes:
    """A number in protobuf's encoding: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes((*encoded, number))


def embeddings_of(answer: service_pb2.ModelInferResponse, rows: int, dim: int) -> Floats:
    """float32 [rows, dim], read-only. Raises InferenceFailed if the answer has another type or shape.

    Triton's libtorch backend does not check the dimensions of a model's output.
    """
    outputs = [(output.datatype, *output.shape) for output in answer.outputs]
    sizes = [len(content) for content in answer.raw_output_contents]
    if outputs != [("FP32", rows, dim)] or sizes != [rows * dim * 4]:
        raise InferenceFailed(
            f"{answer.model_name} answered {outputs} in {sizes} bytes instead of FP32 [{rows}, {dim}]"
        )
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(rows, dim)


def bytes_of(answer: service_pb2.ModelInferResponse) -> bytes:
    """The bytes of an output UINT8 [n]. Raises InferenceFailed if the answer has another type or shape."""
    outputs = [(output.datatype, *output.shape) for output in answer.outputs]
    sizes = [len(content) for content in answer.raw_output_contents]
    if len(sizes) != 1 or outputs != [("UINT8", sizes[0])]:
        raise InferenceFailed(f"{answer.model_name} answered {outputs} in {sizes} bytes instead of UINT8 [n]")
    return answer.raw_output_contents[0]
