"""Batch after batch over one stream, which is opened anew where it breaks."""

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

PATIENCE_AT_END = 5.0
"""Seconds the server gets to end a stream whose batches are all answered."""
OVERLOAD_SECONDS = 0.5
"""Seconds to wait before batches are sent again to a server without room."""


@dataclass
class Part(Generic[R]):
    """One message of a stream, or the end of a batch that needs none."""

    job: Job[R]
    chunk: Chunk | None
    number: int
    last: bool
    """Whether the batch is complete with this part."""


def parts_of(
    batches: Iterable[Any], start: Callable[[Any], Job[R]], info: ServerInfo, batch_size: int
) -> Iterator[Part[R]]:
    """The messages for all batches, in order; a batch too large for one message becomes several."""
    number = 0
    for batch in batches:
        job = start(batch)
        chunks = job.chunks(info, batch_size)
        chunk = next(chunks, None)
        while True:
            following = next(chunks, None) if chunk is not None else None
            number += 1
            yield Part(job, chunk, number, last=following is None)
            if following is None:
                break
            chunk = following


class Link:
    """One open stream: messages go in by `send`, answers and the failure come out of `receive`."""

    def __init__(self, method: Callable[..., Any], metadata: Metadata) -> None:
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._incoming: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Started in the reader's thread: see Transport.unary on Ctrl-C.
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
        """The next answer, the failure, or None for the stream's end; raises queue.Empty."""
        return self._incoming.get(timeout=timeout) if timeout > 0 else self._incoming.get_nowait()

    def close(self, patience: float = 0) -> None:
        """Ends the stream: says that no more comes, and cancels it if it is not over after `patience`."""
        self._outgoing.put(None)
        self._reader.join(patience)
        if self._reader.is_alive():
            self._calls.get().cancel()


class BatchStream(Generic[R]):
    """Sends parts, at most `window` unanswered, and yields each batch's result in order.

    Where the stream breaks in a way that may be tried again (servers renew connections from time to time),
    what was not answered is sent again over a new one. `timeout` is how long to wait for any one answer.
    """

    def __init__(
        self,
        transport: Transport,
        method: StreamMethod,
        parts: Iterator[Part[R]],
        *,
        window: int,
        timeout: float,
    ) -> None:
        self._transport = transport
        self._method = method
        self._parts = parts
        self._window = max(1, window)
        self._timeout = timeout
        self._unanswered: deque[Part[R]] = deque()
        self._link: Link | None = None
        self._attempts = self._fresh_attempts()

    def results(self) -> Iterator[R]:
        """One result for each batch."""
        more = True
        try:
            while more or self._unanswered:
                if more and not self._full():
                    more = self._send_next()
                    yield from self._complete()
                # While there is room to send, take answers without waiting for them.
                while self._unanswered and self._receive(wait=not more or self._full()):
                    yield from self._complete()
            self._close(PATIENCE_AT_END)
        finally:
            self._close()

    def _send_next(self) -> bool:
        part = next(self._parts, None)
        if part is None:
            return False
        self._unanswered.append(part)
        if part.chunk is not None:
            self._send(part.number, part.chunk)
        return True

    def _send(self, number: int, chunk: Chunk) -> None:
        self._open().send(self._method.message(batch_id=number, request=chunk.request))

    def _complete(self) -> Iterator[R]:
        """Results of batches at the head of the line that need no further answer."""
        while self._unanswered and self._unanswered[0].chunk is None:
            part = self._unanswered.popleft()
            if part.last:
                yield part.job.result()

    def _full(self) -> bool:
        return len(self._unanswered) >= self._window

    def _receive(self, *, wait: bool) -> bool:
        """Takes one answer; False if there is none yet."""
        forks.check()
        try:
            answer = self._open().receive(self._timeout if wait else 0)
        except queue.Empty:
            if wait:
                raise DeadlineExceeded(f"no answer to a batch within {self._timeout:g} s") from None
            return False
        if answer is None:
            ended = Unavailable("the server ended the stream early")
            self._again(Failure(ended, answered=True))
        elif isinstance(answer, grpc.RpcError):
            self._again(self._transport.failure(answer, self._rebase()))
        elif isinstance(answer, Exception):
            self._transport.check()
            raise answer
        else:
            self._take(answer)
        return True

    def _take(self, answer: Any) -> None:
        part = self._unanswered[0]
        if part.chunk is None or answer.batch_id != part.number:
            raise InternalError(f"the server answered batch {answer.batch_id} out of order")
        error = read_item(answer.status, self._rebase())
        if isinstance(error, Overloaded):
            # The status of a batch has no place for the delay that a call's failure would carry.
            error.retry_after = OVERLOAD_SECONDS
        if isinstance(error, Unavailable | Overloaded | Conflict):
            self._again(Failure(error, answered=True))
            return
        if error is not None:
            part.job.fail(part.chunk, error)
        else:
            part.job.take(part.chunk, answer.response)
            self._transport.budget.succeeded()
            self._attempts = self._fresh_attempts()
        part.chunk = None

    def _again(self, failure: Failure) -> None:
        """Opens the stream anew and sends again what was not answered; raises if that may not help."""
        self._close()
        delay = self._attempts.next_delay(failure, time.monotonic())
        if delay is None:
            raise self._transport.explained(failure.error)
        time.sleep(delay)
        for part in self._unanswered:
            if part.chunk is not None:
                self._send(part.number, part.chunk)

    def _rebase(self) -> Callable[[str], str]:
        part = self._unanswered[0] if self._unanswered else None
        if part is None or part.chunk is None:
            return str
        inner = rebaser(part.job.name, part.chunk.positions)
        return lambda field: inner(field.removeprefix("request."))

    def _open(self) -> Link:
        if self._link is None:
            self._link = Link(self._transport.method(self._method.name), self._transport.metadata())
        return self._link

    def _close(self, patience: float = 0) -> None:
        if self._link is not None:
            self._link.close(patience)
            self._link = None

    def _fresh_attempts(self) -> CallAttempts:
        return CallAttempts(self._transport.retry, self._transport.budget, deadline=math.inf)
