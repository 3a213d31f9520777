"""Shared by the services of the fake server: recording calls, errors and pages."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from client.fake_model import MODEL, OTHER
from clipserve.v1 import clip_pb2, common_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

T = TypeVar("T")
PAGE = 2
"""Entries per page of a list, whatever the request says: servers may send fewer."""


class Refused(Exception):
    """The error of a call or an item."""

    def __init__(
        self,
        code: str,
        reason: str,
        message: str,
        field: str = "",
        *,
        retry_after: float | None = None,
        pushback_ms: int | None = None,
        details: bool = True,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.field = code, reason, message, field
        self.retry_after, self.pushback_ms, self.details = retry_after, pushback_ms, details

    def status(self) -> common_pb2.ItemStatus:
        """The error as the status of an item."""
        number = grpc.StatusCode[self.code].value[0]
        return common_pb2.ItemStatus(code=number, reason=self.reason, field=self.field, message=self.message)

    def at(self, path: str) -> Refused:
        """The error with the item's path before its field."""
        dotted = f"{path}.{self.field}" if self.field else path
        return Refused(self.code, self.reason, self.message, dotted)

    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """The trailing metadata of a failed call."""
        metadata: list[tuple[str, str | bytes]] = [("x-request-id", "fake-request")]
        if self.details:
            status = status_pb2.Status(code=grpc.StatusCode[self.code].value[0], message=self.message)
            info = error_details_pb2.ErrorInfo(reason=self.reason, domain="clipserve", metadata={"a": "b"})
            status.details.add().Pack(info)
            if self.field:
                violation = error_details_pb2.BadRequest.FieldViolation(
                    field=self.field, description=self.message
                )
                status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
            if self.retry_after is not None:
                delay = Duration()
                delay.FromMilliseconds(int(self.retry_after * 1000))
                status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
            metadata.append(("grpc-status-details-bin", status.SerializeToString()))
        if self.pushback_ms is not None:
            metadata.append(("grpc-retry-pushback-ms", str(self.pushback_ms)))
        return tuple(metadata)


def invalid(reason: str, message: str, field: str = "") -> Refused:
    """INVALID_ARGUMENT."""
    return Refused("INVALID_ARGUMENT", reason, message, field)


@dataclass
class Seen:
    """A call that arrived."""

    method: str
    items: int
    metadata: dict[str, str]
    seconds_left: float | None


@dataclass
class State:
    """State of all services, which tests inspect."""

    limits: clip_pb2.Limits
    calls: list[Seen] = field(default_factory=list)
    script: dict[str, deque[Refused | float | Callable[[Any], None]]] = field(default_factory=dict)
    model: common_pb2.ModelRef = field(default_factory=lambda: MODEL)
    logit_bias: float | None = None
    ready: bool = True
    spoil: Callable[[str, Any, list[Any]], list[Any]] | None = None
    """Changes the results of an Embed request: method, request, results → results."""
    keeps_sources: bool = True
    restores_sources: bool = True
    inserts_new_points: bool = True
    truncates: bool = True
    """Whether it knows EmbedRequest.dimensions."""
    image_rules: common_pb2.ImageRules = field(
        default_factory=lambda: common_pb2.ImageRules(apply_orientation=True, alpha_background="#ffffff")
    )
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, method: str, items: int, context: grpc.ServicerContext) -> None:
        """Records a call and applies its step of the script: an error or a delay."""
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        with self.lock:
            self.calls.append(Seen(method, items, metadata, context.time_remaining()))
            scripted = self.script.get(method)
            step = scripted.popleft() if scripted else None
        if isinstance(step, Refused):
            raise step
        if isinstance(step, float):
            time.sleep(step)

    def named(self, name: str) -> common_pb2.ModelRef:
        """The model with this name; the default model without a name."""
        for model in (self.model, OTHER):
            if name in ("", model.name):
                return model
        raise Refused("NOT_FOUND", "MODEL_NOT_FOUND", f"no model {name!r}", "model")


class Guard:
    """Decorates a method: records the call and converts Refused into a status."""

    def __init__(self, state: State) -> None:
        self.state = state

    def call(self, method: str, items: int, context: grpc.ServicerContext, answer: Callable[[], Any]) -> Any:
        """Returns the answer, or aborts the call with the error."""
        with self.state.lock:
            self.state.in_flight += 1
            self.state.most_in_flight = max(self.state.most_in_flight, self.state.in_flight)
        try:
            self.state.enter(method, items, context)
            return answer()
        except Refused as refused:
            context.set_trailing_metadata(refused.trailers())
            context.abort(grpc.StatusCode[refused.code], refused.message)
        finally:
            with self.state.lock:
                self.state.in_flight -= 1

    def check_count(self, count: int, name: str) -> None:
        """Raises Refused unless the count is 1 … max_items_per_call."""
        if not 1 <= count <= self.state.limits.max_items_per_call:
            reason = "LIMIT_EXCEEDED" if count else "INVALID_INPUT"
            raise invalid(reason, f"{count} items", name)

    def batch(self, method: str, items: int, request: Any, context: Any, answer: Callable[[], Any]) -> Any:
        """The answer to one batch of a stream: `response`, or `status` if the batch is refused."""
        try:
            self.state.enter(method, items, context)
            return {"batch_id": request.batch_id, "response": answer()}
        except Refused as refused:
            if refused.details and refused.code != "UNAVAILABLE":
                return {"batch_id": request.batch_id, "status": refused.at("request").status()}
            context.set_trailing_metadata(refused.trailers())
            context.abort(grpc.StatusCode[refused.code], refused.message)


def page_of(items: Iterable[tuple[str, T]], request: Any) -> tuple[Sequence[T], str]:
    """A page of items, sorted by name, and the token of the next page."""
    if request.page_size < 0:
        raise invalid("INVALID_INPUT", "page_size must not be negative", "page_size")
    left = sorted((name, item) for name, item in items if name > request.page_token)
    return [item for _, item in left[:PAGE]], left[PAGE - 1][0] if len(left) > PAGE else ""
