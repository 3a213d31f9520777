"""A gRPC server that carries each call on over HTTP, so that what tests gRPC tests HTTP too."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
from clipserve_gateway.http_adapter.json_text import MOST_VALUES, most_values
from google.protobuf import any_pb2, json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testing.hostile.sending import METHODS

PATHS = {f"/{about.containing_service.full_name}/{about.name}": about for about in METHODS.values()}
UNARY = {"EmbedStream": "Embed", "UpsertPointsStream": "UpsertPoints"}
"""The call that answers one message of a stream."""
CODES = {code.value[0]: code for code in grpc.StatusCode}
CALLERS = 64
MOST_JSON = 16 << 20
FORWARDED = ("authorization", "x-request-id", "x-clipserve-priority")
HOP = "trailer-"
PROTO, JSON = "application/proto", "application/json"


class HttpBridge(grpc.GenericRpcHandler):
    """Calls the API at an HTTP address, with JSON wherever the request can be JSON."""

    def __init__(self, url: str, *, json: bool = True, verify: Any = True) -> None:
        """`json`: False sends protobuf always."""
        self._json = json
        self.sent = {PROTO: 0, JSON: 0}
        """Calls by content type."""
        limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
        self._http = httpx.Client(base_url=url, timeout=None, limits=limits, verify=verify)
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._server = grpc.server(ThreadPoolExecutor(CALLERS), handlers=(self,), options=options)
        health_pb2_grpc.add_HealthServicer_to_server(_Health(self._http), self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Ends it at once."""
        self._server.stop(None).wait()
        self._http.close()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """See grpc.GenericRpcHandler."""
        about = PATHS.get(details.method)
        if about is None:
            return None
        if about.client_streaming:
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: self._stream(details.method, requests, context)
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda data, context: self._unary(details.method, data, context)
        )

    def _unary(self, path: str, data: bytes, context: grpc.ServicerContext) -> bytes:
        answer = self._post(path, data, context)
        context.set_trailing_metadata(trailers(answer))
        if answer.is_success:
            return message_bytes(path, answer)
        status = status_of(answer)
        details = ("grpc-status-details-bin", status.SerializeToString())
        context.set_trailing_metadata([*trailers(answer), details])
        context.abort(CODES[status.code], status.message)
        raise AssertionError("abort raises")

    def _stream(self, path: str, batches: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Each batch by a unary call of its own."""
        about = PATHS[path]
        unary = path.replace(about.name, UNARY[about.name])
        request, response = GetMessageClass(about.input_type), GetMessageClass(about.output_type)
        for data in batches:
            batch: Any = request.FromString(data)
            answer = self._post(unary, batch.request.SerializeToString(), context)
            result: Any = response(batch_id=batch.batch_id)
            if answer.is_success:
                result.response.MergeFromString(message_bytes(unary, answer))
            else:
                status = status_of(answer)
                result.status.code, result.status.message = status.code, status.message
                for detail in debug_of(answer):
                    result.status.reason = detail.get("reason", result.status.reason)
                    for violation in detail.get("fieldViolations", ()):
                        result.status.field = f"request.{violation['field']}"
            yield result.SerializeToString()

    def _post(self, path: str, data: bytes, context: grpc.ServicerContext) -> httpx.Response:
        headers = {key: value for key, value in context.invocation_metadata() if key in FORWARDED}
        left = context.time_remaining()
        if left is not None:
            headers["connect-timeout-ms"] = str(max(1, min(int(left * 1000), 10**10 - 1)))
        body = json_of(GetMessageClass(PATHS[path].input_type), data) if self._json else None
        kind = PROTO if body is None else JSON
        self.sent[kind] += 1
        return self._http.post(path, content=body or data, headers={**headers, "content-type": kind})


class _Health(health_pb2_grpc.HealthServicer):
    """Serving while the server has a model. HTTP has no other way to tell."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def Check(self, request: Any, context: grpc.ServicerContext) -> health_pb2.HealthCheckResponse:
        """See grpc.health.v1."""
        answer = self._http.post("/clipserve.v1.ClipService/GetServerInfo", json={})
        ready = answer.is_success and any(model["ready"] for model in answer.json()["models"])
        return health_pb2.HealthCheckResponse(status=1 if ready else 2)


def json_of(kind: type[Message], data: bytes) -> bytes | None:
    """The request as JSON; None if it cannot be JSON, or is too large for it."""
    try:
        text = json_format.MessageToJson(kind.FromString(data), indent=None, ensure_ascii=False).encode()
    except (DecodeError, json_format.Error, ValueError, RecursionError):
        return None
    return text if len(text) <= MOST_JSON and most_values(text) <= MOST_VALUES else None


def message_bytes(path: str, answer: httpx.Response) -> bytes:
    """The answer in protobuf's encoding."""
    if answer.headers["content-type"] == PROTO:
        return answer.content
    response = GetMessageClass(PATHS[path].output_type)()
    return json_format.Parse(answer.content, response).SerializeToString()


def status_of(answer: httpx.Response) -> status_pb2.Status:
    """The error as gRPC has it."""
    error = answer.json()
    name = {"canceled": "CANCELLED"}.get(error["code"], error["code"].upper())
    status = status_pb2.Status(code=code_pb2.Code.Value(name), message=error["message"])
    for detail in error.get("details", ()):
        value = base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4), validate=True)
        status.details.append(any_pb2.Any(type_url=f"type.googleapis.com/{detail['type']}", value=value))
    return status


def debug_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The readable details of an error."""
    return [detail["debug"] for detail in json.loads(answer.content).get("details", ())]


def trailers(answer: httpx.Response) -> list[tuple[str, str]]:
    """The trailers of the call."""
    found = [(name[len(HOP) :], value) for name, value in answer.headers.items() if name.startswith(HOP)]
    if "retry-after-ms" in answer.headers:
        found.append(("grpc-retry-pushback-ms", answer.headers["retry-after-ms"]))
    return found
