"""Sends batches over one stream, and reopens the stream when it breaks."""

from __future__ import annotations

import functools
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc

from clipserve.errors import Conflict, DeadlineExceeded, InternalError, Overloaded, Unavailable
from clipserve.jobs.base import Job, StreamMethod
from clipserve.messages.requests import Chunk, rebaser
from clipserve.retry import CallAttempts
from clipserve.token import Metadata
from clipserve.transport import forks
from clipserve.transport.unary_call import Transport
from clipserve.types import ServerInfo
from clipserve.wire.status import Failure, read_item

R = TypeVar("R")

CLOSE_SECONDS = 5.0
"""How long to wait for the server to end a stream after its last answer."""
OVERLOAD_SECONDS = 0.5
"""Delay before batches are sent again to an overloaded server."""


@dataclass
class Part(Generic[R]):
    """One message of a stream. `chunk` is None once it is answered, and for an empty batch."""

    job: Job[R]
    chunk: Chunk | None
    number: int
    last: bool
    """Whether this is the last part of its batch."""


def split_batches(
    batches: Iterable[Any], new_job: Callable[[Any], Job[R]], info: ServerInfo, batch_size: int
) -> Iterator[Part[R]]:
    """The messages of all batches, in order. A batch that is too large for one message becomes several."""
    number = 0
    for batch in batches:
        job = new_job(batch)
        chunks = job.chunks(info, batch_size)
        chunk = next(chunks, None)
        while True:
            following = next(chunks, None) if chunk is not None else None
            number += 1
            yield Part(job, chunk, number, last=following is None)
            if following is None:
                break
            chunk = following


class OpenStream:
    """One open stream. A thread reads the answers into a queue."""

    def __init__(self, method: Callable[..., Any], metadata: Metadata) -> None:
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._incoming: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # The call starts in the reader's thread, because of Ctrl-C: see Transport.unary.
        start = functools.partial(method, iter(self._outgoing.get, None), metadata=metadata)
        self._reader = threading.Thread(
            target=self._read, args=(start,), name="clipserve-stream", daemon=True
        )
        self._reader.start()

    def _read(self, start: Callable[[], Any]) -> None:
        try:
            with forks.in_stream():
                call = start()
                self._calls.put(call)
                for response in call:
                    self._incoming.put(response)
            self._incoming.put(None)
        except Exception as error:
            self._incoming.put(error)

    def send(self, message: Any) -> None:
        """Sends a message."""
        self._outgoing.put(message)

    def receive(self, timeout: float) -> Any:
        """The next answer, an exception, or None at the end of the stream; raises queue.Empty."""
        return self._incoming.get(timeout=timeout) if timeout > 0 else self._incoming.get_nowait()

    def close(self, wait_seconds: float = 0) -> None:
        """Ends the stream: tells the server that no more messages come, and cancels it after
        `wait_seconds`."""
        self._outgoing.put(None)
        self._reader.join(wait_seconds)
        if self._reader.is_alive():
            self._calls.get().cancel()


@dataclass(eq=False)
class BatchStream(Generic[R]):
    """Sends parts, at most `window` of them unanswered, and yields each batch's result in order.

    When the stream breaks with a retryable error (servers renew connections from time to time), it opens a
    new one and sends the unanswered parts again.
    """

    transport: Transport
    method: StreamMethod
    parts: Iterator[Part[R]]
    window: int
    timeout: float
    """Limits the wait for each answer, in seconds."""

    def __post_init__(self) -> None:
        self._unanswered: deque[Part[R]] = deque()
        self._stream: OpenStream | None = None
        self._attempts = self._new_attempts()

    def results(self) -> Iterator[R]:
        """One result for each batch."""
        more = True
        try:
            while more or self._unanswered:
                if more and not self._full():
                    more = self._send_next()
                    yield from self._finished()
                # While the window has room, read only the answers that have arrived.
                while self._unanswered and self._receive(wait=not more or self._full()):
                    yield from self._finished()
            self._close(CLOSE_SECONDS)
        finally:
            self._close()

    def _send_next(self) -> bool:
        part = next(self.parts, None)
        if part is None:
            return False
        self._unanswered.append(part)
        if part.chunk is not None:
            self._send(part.number, part.chunk)
        return True

    def _send(self, number: int, chunk: Chunk) -> None:
        self._open().send(self.method.message(batch_id=number, request=chunk.request))

    def _finished(self) -> Iterator[R]:
        """Results of the batches at the front of the queue that are completely answered."""
        while self._unanswered and self._unanswered[0].chunk is None:
            part = self._unanswered.popleft()
            if part.last:
                yield part.job.result()

    def _full(self) -> bool:
        return len(self._unanswered) >= max(1, self.window)

    def _receive(self, *, wait: bool) -> bool:
        """Handles one answer; False if none has arrived."""
        forks.check()
        try:
            answer = self._open().receive(self.timeout if wait else 0)
        except queue.Empty:
            if wait:
                raise DeadlineExceeded(f"no answer to a batch within {self.timeout:g} s") from None
            return False
        if answer is None:
            ended = Unavailable("the server ended the stream before the last answer")
            self._reopen(Failure(ended, answered=True))
        elif isinstance(answer, grpc.RpcError):
            self._reopen(self.transport.failure(answer, self._rebase()))
        elif isinstance(answer, Exception):
            self.transport.check()
            raise answer
        else:
            self._handle(answer)
        return True

    def _handle(self, answer: Any) -> None:
        part = self._unanswered[0]
        if part.chunk is None or answer.batch_id != part.number:
            raise InternalError(f"the server answered batch {answer.batch_id} out of order")
        error = read_item(answer.status, self._rebase())
        if isinstance(error, Overloaded):
            # Unlike an error of a call, the status of a batch has no field for a delay.
            error.retry_after = OVERLOAD_SECONDS
        if isinstance(error, Unavailable | Overloaded | Conflict):
            self._reopen(Failure(error, answered=True))
            return
        if error is not None:
            part.job.add_failure(part.chunk, error)
        else:
            part.job.add_response(part.chunk, answer.response)
            self.transport.budget.succeeded()
            self._attempts = self._new_attempts()
        part.chunk = None

    def _reopen(self, failure: Failure) -> None:
        """Opens a new stream and sends the unanswered parts again; raises if the failure is final."""
        self._close()
        delay = self._attempts.next_delay(failure, time.monotonic())
        if delay is None:
            raise self.transport.with_cause(failure.error)
        time.sleep(delay)
        for part in self._unanswered:
            if part.chunk is not None:
                self._send(part.number, part.chunk)

    def _rebase(self) -> Callable[[str], str]:
        part = self._unanswered[0] if self._unanswered else None
        if part is None or part.chunk is None:
            return str
        rebase = rebaser(part.job.name, part.chunk.positions)
        return lambda field: rebase(field.removeprefix("request."))

    def _open(self) -> OpenStream:
        if self._stream is None:
            self._stream = OpenStream(self.transport.method(self.method.name), self.transport.metadata())
        return self._stream

    def _close(self, wait_seconds: float = 0) -> None:
        if self._stream is not None:
            self._stream.close(wait_seconds)
            self._stream = None

    def _new_attempts(self) -> CallAttempts:
        return CallAttempts(self.transport.retry, self.transport.budget, deadline=math.inf)
