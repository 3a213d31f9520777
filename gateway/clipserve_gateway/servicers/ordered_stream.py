"""Answers a stream of batches in order, and works on a bounded number of them at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from clipserve_gateway.access.call import Call
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.convert.status import item_status
from clipserve_gateway.errors import ClipserveError

Request = TypeVar("Request")
Response = TypeVar("Response")


async def in_order(
    requests: AsyncIterator[Request], answer: Callable[[Request], Awaitable[Response]], *, window: int
) -> AsyncIterator[Response]:
    """Answers `requests` in their order, with at most `window` of them under way.

    While the window is full it reads no further request: HTTP/2 flow control then slows the caller down, and
    memory stays bounded. Closing the iterator cancels the work under way.
    """
    under_way: deque[asyncio.Future[Response]] = deque()
    reading: asyncio.Future[Request] | None = None
    source = requests.__aiter__()
    more = True
    try:
        while more or under_way:
            if more and reading is None and len(under_way) < window:
                reading = asyncio.ensure_future(source.__anext__())
            waiting = [future for future in (reading, under_way[0] if under_way else None) if future]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if reading is not None and reading.done():
                try:
                    under_way.append(asyncio.ensure_future(answer(reading.result())))
                except StopAsyncIteration:
                    more = False
                reading = None
            while under_way and under_way[0].done():
                yield under_way.popleft().result()
    finally:
        while under_way:
            under_way.pop().cancel()
        if reading is not None:
            reading.cancel()
        # The future holds the error, the error's traceback this frame, and this frame all that was read.
        del reading, waiting


async def answer_batch(
    calls: Calls,
    call: Call,
    request: Any,
    response: Callable[..., Response],
    work: Callable[[Any], Awaitable[object]],
) -> Response:
    """Authorizes and answers one message of a stream, of which `response` is the type of the answers.

    A refused batch is answered with its status, and the stream continues.
    """
    try:
        answer = await calls.authorizer.authorize_and_run(call, request.request, work)
    except ClipserveError as error:
        calls.audit_refusal(call, error)
        return response(batch_id=request.batch_id, status=item_status(error, "request"))
    return response(batch_id=request.batch_id, response=answer)
