"""What a call that fails says on the wire."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


async def refusal(call) -> tuple[grpc.StatusCode, error_details_pb2.ErrorInfo, list[str]]:
    """Code, ErrorInfo and field paths of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    status = rpc_status.from_call(raised.value)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    infos = [detail for detail in status.details if detail.Unpack(info)]
    assert len(infos) == 1, "exactly one ErrorInfo"
    assert info.domain == "clipserve"
    for detail in status.details:
        detail.Unpack(bad)
    return raised.value.code(), info, [violation.field for violation in bad.field_violations]
