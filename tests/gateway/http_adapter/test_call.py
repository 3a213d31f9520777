from __future__ import annotations

import asyncio

import pytest
from clipserve_gateway.calls.messages import expected_bytes
from clipserve_gateway.errors import DeadlineExceeded
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.http_adapter.call import call_of, in_time, peer_of

from testing.direct_calls import method_named
from tests.gateway.http_adapter.conftest import Api


@pytest.mark.parametrize(
    ("client", "peer"),
    [
        (("127.0.0.1", 41234), "ipv4:127.0.0.1:41234"),
        (("::1", 41234), "ipv6:[::1]:41234"),
        (None, "unix:"),
    ],
)
def test_a_peer_is_named_as_grpc_names_it(client, peer):
    assert peer_of({"client": client}) == peer


async def test_a_caller_cannot_choose_how_much_room_is_kept_for_it(api: Api):
    headers = [(b"x-clipserve-bytes", b"1"), (b"x-request-id", b"r-1")]
    call = call_of(method_named(api.parts, "Embed"), {"headers": headers}, 5000)
    assert (expected_bytes(call), call.request_id) == (5000, "r-1")


async def test_the_time_of_a_call_includes_its_work(api: Api):
    method = method_named(api.parts, "GetServerInfo")
    answer = method.handler

    async def answer_late(request, call):
        await asyncio.sleep(0.05)
        return await answer(request, call)

    # The dataclass is frozen.
    object.__setattr__(method, "handler", answer_late)
    await api.call("ClipService/GetServerInfo")
    await api.released()
    labels = {"method": "GetServerInfo", "model": ""}
    seconds = api.parts.metrics.registry.get_sample_value("clipserve_request_seconds_sum", labels)
    assert seconds is not None
    assert seconds >= 0.05


async def test_work_ends_at_its_deadline():
    with pytest.raises(DeadlineExceeded):
        await in_time(asyncio.sleep(60), Deadline.after(0.01))


async def test_work_that_times_out_by_itself_is_not_late():
    async def work() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await in_time(work(), Deadline.after(60))
