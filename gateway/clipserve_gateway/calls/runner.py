"""Runs calls: counts, times and logs each one, and turns its errors into an outcome."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from clipserve_gateway import errors
from clipserve_gateway.access.call import REQUEST_ID, Call
from clipserve_gateway.calls.messages import Messages
from clipserve_gateway.calls.method import Method
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.calls.transport import Transport
from clipserve_gateway.convert.status import code_of
from clipserve_gateway.flow import stages
from clipserve_gateway.flow.admission import lane_of
from clipserve_gateway.flow.lanes import in_lane

log = logging.getLogger("clipserve.access")

TIMING = "clipserve-timing"
PRIORITY = "x-clipserve-priority"

DROPPED = {"DEADLINE_EXCEEDED": "deadline", "CANCELLED": "cancelled"}
"""Codes of calls whose work ended early, and the reason in the metrics."""

LIMITS = ("deadline", "decode", "held_bytes", "calls_per_caller", "streams_per_caller")
"""Limits whose refusals are counted here; Admission counts its own."""


@dataclass
class Outcome:
    """How a call ends.

    Attributes:
        code: name of the status code, e.g. `OK`; see convert/status.py, Code.
        failure: the error of the domain; None for success, and for INTERNAL and CANCELLED calls without one.
    """

    call: Call
    record: stages.Record
    code: str = "OK"
    failure: errors.ClipserveError | None = None

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """Headers that end every answer: the request id and the time of each stage."""
        return (REQUEST_ID, self.call.request_id), (TIMING, self.record.trailer())


class CallRunner:
    """Runs the calls of one gateway, whatever protocol carries them.

    The adapter of a protocol runs each call in its own task, which ends once the answer is sent:

        async with runner.running(call) as outcome:
            return await runner.answer(call, method, transport)
        ...  # answer with outcome.failure
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        metrics = self._metrics = calls.metrics
        # Looking up a metric's child takes as long as all other work on it.
        self._requests = functools.cache(metrics.requests.labels)
        self._request_seconds = functools.cache(metrics.request_seconds.labels)
        self._stage_seconds = functools.cache(metrics.stage_seconds.labels)

    @contextlib.asynccontextmanager
    async def running(self, call: Call) -> AsyncIterator[Outcome]:
        """Records the call that runs inside. An error becomes its outcome and is not raised any further."""
        start = stages.arrival()
        with stages.recording() as record:
            record.request_id = call.request_id
            outcome = Outcome(call, record)
            try:
                yield outcome
            except errors.ClipserveError as error:
                outcome.code, outcome.failure = code_of(error).name, error
                if outcome.code == "INTERNAL":
                    log.exception("call failed", extra={"fields": {"request_id": call.request_id}})
                # These refer to everything that the call held, the request included.
                error.__traceback__ = error.__cause__ = error.__context__ = None
            except (asyncio.CancelledError, GeneratorExit):
                # GeneratorExit ends a stream whose caller left. A caller whose own deadline passes cancels
                # the call, mostly before our deadline passes.
                late = call.deadline is not None and call.deadline.remaining() <= 0
                outcome.code = "DEADLINE_EXCEEDED" if late else "CANCELLED"
                raise
            except Exception:
                outcome.code = "INTERNAL"
                log.exception("call failed", extra={"fields": {"request_id": call.request_id}})
            finally:
                self._observe(time.perf_counter() - start, outcome)

    async def answer(self, call: Call, method: Method, transport: Transport) -> bytes:
        """Runs a unary call; returns its encoded answer."""
        with self._let_in(call):
            messages = Messages(self._calls, call, method, transport)
            work: Awaitable[Message | bytes] = self._calls.authorizer.authorize_and_run(
                call, await messages.only(), lambda request: method.handler(request, call)
            )
            if call.deadline is None:
                work = in_default_time(work, self._calls.default_timeout)
            return messages.until_sent(await transport.encode(await work))

    async def answers(self, call: Call, method: Method, transport: Transport) -> AsyncGenerator[bytes, None]:
        """Runs a streaming call; yields its encoded answers. Servicers authorize each message."""
        messages = Messages(self._calls, call, method, transport)
        with contextlib.closing(messages), self._let_in(call):
            messages.enter()
            async for response in method.handler(messages, call):
                with messages.sending(data := await transport.encode(response)):
                    yield data

    @contextlib.contextmanager
    def _let_in(self, call: Call) -> Iterator[None]:
        self._calls.authorizer.authenticate(call)
        with in_lane(lane_of(call.header(PRIORITY))):
            yield

    def _observe(self, seconds: float, outcome: Outcome) -> None:
        call, record, failure = outcome.call, outcome.record, outcome.failure
        model = record.notes.get("model", "")
        self._requests(call.method, outcome.code, model).inc()
        if outcome.code in DROPPED:
            self._metrics.dropped.labels(stage_of(record, failure), DROPPED[outcome.code]).inc()
        self._time(call.method, model)
        for name, spent in record.seconds.items():
            self._stage_seconds(name).observe(spent)
        fields: dict[str, Any] = {
            "request_id": call.request_id,
            "method": call.method,
            "code": outcome.code,
            "ms": round(seconds * 1000, 2),
            "stages_ms": {name: round(spent * 1000, 2) for name, spent in record.seconds.items()},
            **record.facts,
            **record.notes,
        }
        if isinstance(failure, errors.Overloaded) and failure.metadata.get("limit") in LIMITS:
            self._metrics.rejected.labels(failure.metadata["limit"]).inc()
        if failure is not None:
            fields |= {"reason": failure.reason, "field": failure.field, "error": failure.logged[:500]}
            self._calls.audit_refusal(call, failure)
        log.info("call", extra={"fields": fields})

    def _time(self, method: str, model: str) -> None:
        """Observes the call's time when its task ends, so that sending the answer is included."""
        arrival, histogram = stages.arrival(), self._request_seconds(method, model)

        def observe(_: object = None) -> None:
            histogram.observe(time.perf_counter() - arrival)

        task = asyncio.current_task()
        if task is None:
            observe()
        else:
            task.add_done_callback(observe)


async def in_default_time(work: Awaitable[Message | bytes], seconds: float) -> Message | bytes:
    """The result of the work. Raises DeadlineExceeded after the default timeout."""
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise errors.DeadlineExceeded(
            f"the call took more than {seconds:g} s, this server's limit for calls without a deadline"
        ) from None


def stage_of(record: stages.Record, failure: errors.ClipserveError | None) -> str:
    """The stage in which a call ended early, or that did not begin."""
    named = failure.metadata.get("stage", "") if failure else ""
    return named or (record.under_way[-1] if record.under_way else "other")
