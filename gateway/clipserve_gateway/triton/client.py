"""The client of one Triton: encodes batches, and asks for models and their configurations."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline, deadline_exceeded
from clipserve_gateway.process.proxies import channel_options, proxy_hint
from clipserve_gateway.triton.encoder import Rows
from clipserve_gateway.triton.messages import bytes_of, embeddings_of, request_of
from clipserve_gateway.triton.model_config import bulk_batch_of, tokenizer_name, tower_name
from clipserve_gateway.triton.parameters import TowerConfig
from clipserve_gateway.types import Floats, ModelSpec, Tower

log = logging.getLogger(__name__)

MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
MAX_MESSAGE_BYTES = 256 * 1024 * 1024
CONFIG_SECONDS = 5.0
"""A configuration that changes without a new version is noticed within this time."""

CHANNEL_OPTIONS: list[tuple[str, object]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Reconnects within 2 s after Triton is back.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class TritonEncoder:
    """Implements Encoder, ModelSource and TokenizerSource. Belongs to the event loop that created it."""

    def __init__(self, target: str, headers: Mapping[str, str] | None = None) -> None:
        """`target` is HOST:PORT or unix:PATH. `headers` are sent with every call, for Triton's restricted
        protocols."""
        self._proxy = proxy_hint(target)
        if self._proxy:
            log.warning("%s", self._proxy)
        options = [*CHANNEL_OPTIONS, *channel_options(target)]
        self._channel = grpc.aio.insecure_channel(target, options=options)
        # The stubs have types only for synchronous channels.
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        # Requests are serialized already.
        self._infer: Any = self._channel.unary_unary(
            MODEL_INFER, response_deserializer=service_pb2.ModelInferResponse.FromString
        )
        self._headers = tuple((headers or {}).items())
        self._index: Any = None
        """Triton's last list of models."""
        self._configs: dict[str, tuple[float, TowerConfig]] = {}
        """Configurations read since the list last changed, with their times."""

    async def close(self) -> None:
        """Closes the channel; calls under way fail."""
        await self._channel.close()

    async def encode(self, spec: ModelSpec, tower: Tower, rows: Rows, deadline: Deadline) -> Floats:
        """See Encoder."""
        deadline.check("encode")
        request = request_of(tower_name(spec.name, tower), spec.version, rows)
        # It was served a moment ago: a Triton without it is stopping, or has unloaded this version.
        missing = f"model {spec.name!r} is not served just now; try again"
        answer = await self._answer(request, deadline.remaining(), missing)
        return embeddings_of(answer, len(rows), spec.embed_dim)

    async def tokenizer_bundle(self, spec: ModelSpec, timeout: float) -> bytes:
        """See TokenizerSource."""
        name = tokenizer_name(spec.name)
        request = request_of(name, spec.version, np.zeros(1, np.uint8))
        missing = f"Triton does not serve {name} in version {spec.version}"
        return bytes_of(await self._answer(request, timeout, missing))

    async def _answer(self, request: bytes, timeout: float, missing: str) -> service_pb2.ModelInferResponse:
        """Triton's answer to an inference. Raises ModelLoading(missing) if Triton has no such model."""
        try:
            return await self._infer(request, metadata=self._headers, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            failure = self._translated(error)
            if isinstance(failure, errors.ModelNotFound):
                failure = errors.ModelLoading(missing)
            raise failure from error

    async def towers(self, names: Sequence[str], timeout: float) -> list[TowerConfig]:
        """The configurations of Triton models, without those of models that Triton no longer has.

        Reuses configurations for CONFIG_SECONDS, as long as Triton's list of models stays the same.
        """
        configs = []
        for name in names:
            read_at, config = self._configs.get(name, (-math.inf, None))
            if config is None or time.monotonic() - read_at >= CONFIG_SECONDS:
                read_at, request = time.monotonic(), service_pb2.ModelConfigRequest(name=name)
                try:
                    config = tower_of(await self._ask("ModelConfig", request, timeout))
                except errors.ModelNotFound:
                    continue
                self._configs[name] = read_at, config
            configs.append(config)
        return configs

    async def repository_index(self, timeout: float) -> dict[str, frozenset[str]]:
        """Every model in Triton's repository, and its versions that are ready.

        Raises ServerUnavailable or DeadlineExceeded if Triton does not answer.
        """
        before, self._index = self._index, None
        index = await self._ask("RepositoryIndex", service_pb2.RepositoryIndexRequest(), timeout)
        if index != before:
            self._configs.clear()
        self._index = index
        ready: dict[str, frozenset[str]] = {}
        for model in index.models:
            versions = {model.version} if model.state == "READY" else set()
            ready[model.name] = ready.get(model.name, frozenset()) | versions
        return ready

    async def load_failures(self, timeout: float) -> dict[str, str]:
        """Why each Triton model is not ready; empty if Triton gives no reason, or is loading the model.

        Raises the same errors as repository_index.
        """
        index = await self._ask("RepositoryIndex", service_pb2.RepositoryIndexRequest(), timeout)
        ready = {model.name for model in index.models if model.state == "READY"}
        return {model.name: model.reason for model in index.models if model.name not in ready}

    async def completed(self, timeout: float) -> dict[str, int]:
        """Inputs that each Triton model has answered since it was loaded.

        Raises the same errors as repository_index.
        """
        statistics = await self._ask("ModelStatistics", service_pb2.ModelStatisticsRequest(), timeout)
        counts: Counter[str] = Counter()
        for model in statistics.model_stats:
            counts[model.name] += model.inference_count
        return dict(counts)

    async def _ask(self, method: str, request: object, timeout: float) -> Any:
        try:
            return await getattr(self._stub, method)(request, metadata=self._headers, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise self._translated(error) from error

    def _translated(self, error: grpc.aio.AioRpcError) -> errors.ClipserveError:
        failure = translate(error)
        if isinstance(failure, errors.ServerUnavailable):
            failure.detail = self._proxy
        return failure


def tower_of(response: Any) -> TowerConfig:
    """The configuration in a response of Triton."""
    config = response.config
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    # A group has `count` instances on each of its GPUs.
    instances = max(1, sum(group.count * max(1, len(group.gpus)) for group in config.instance_group))
    gpu = any(group.kind == group.KIND_GPU for group in config.instance_group)
    # The exporter's Python backend has the parameter `threads`, the libtorch backend does not.
    on_cpu = not gpu and "threads" in parameters
    cpu = any(group.kind == group.KIND_CPU for group in config.instance_group)
    bulk_batch = bulk_batch_of(parameters, config.max_batch_size, free=instances > 1) if on_cpu else 0
    return TowerConfig(
        config.name,
        config.max_batch_size,
        parameters,
        instances,
        bulk_batch,
        device="cuda" if gpu else "cpu" if cpu else "",
        input_dims=tuple(config.input[0].dims) if config.input else (),
        output_dims=tuple(config.output[0].dims) if config.output else (),
    )


def translate(error: grpc.aio.AioRpcError) -> errors.ClipserveError:
    """The gateway's error for an error of Triton.

    Triton reports a full queue and an expired request as UNAVAILABLE; only the text tells them apart.
    """
    code, text = error.code(), error.details() or ""
    if "Exceeds maximum queue size" in text:
        return errors.Overloaded("the model's queue is full; try again later")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED or "timeout expired" in text.lower():
        return deadline_exceeded("encode")
    if code is grpc.StatusCode.NOT_FOUND or "unknown model" in text or "no available versions" in text:
        return errors.ModelNotFound("Triton does not serve this model", detail=text[:300])
    if "protocol is restricted" in text:
        return errors.ModelUnavailable(
            "the inference server asks for a header that this gateway does not send; the operator sets it in "
            "CLIPSERVE_TRITON_HEADERS_FILE"
        )
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return errors.ServerUnavailable("the inference server does not answer; try again in a few seconds")
    return errors.InferenceFailed("the inference server refused the input", detail=text[:300])
