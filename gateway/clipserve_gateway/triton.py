"""The encoder that Triton implements, and what Triton says of its models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from clipserve_gateway import errors
from clipserve_gateway.deadline import Deadline
from clipserve_gateway.model_config import IMAGE_SUFFIX, TEXT_SUFFIX, TowerConfig
from clipserve_gateway.types import Floats, Ids, ModelSpec, Pixels

INPUT, OUTPUT = "INPUT__0", "OUTPUT__0"
MAX_MESSAGE_BYTES = 256 * 1024 * 1024

CHANNEL_OPTIONS: list[tuple[str, object]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A Triton that comes back is found within a second or two.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class TritonEncoder:
    """Encodes through one Triton.

    Belongs to the event loop it was made on.
    """

    def __init__(self, target: str, headers: Mapping[str, str] | None = None) -> None:
        """`target` is HOST:PORT, or unix:PATH.

        `headers` go with every call: the key of what Triton's operator restricts.
        """
        self._client = InferenceServerClient(target, channel_args=CHANNEL_OPTIONS)
        self._headers = dict(headers or {})

    async def close(self) -> None:
        """Closes the channel; calls under way fail."""
        await self._client.close()

    async def encode_image(self, spec: ModelSpec, pixels: Pixels, deadline: Deadline) -> Floats:
        """See Encoder."""
        return await self._infer(spec, IMAGE_SUFFIX, pixels, "UINT8", deadline)

    async def encode_text(self, spec: ModelSpec, ids: Ids, deadline: Deadline) -> Floats:
        """See Encoder."""
        return await self._infer(spec, TEXT_SUFFIX, ids, "INT32", deadline)

    async def _infer(
        self, spec: ModelSpec, suffix: str, batch: Pixels | Ids, dtype: str, deadline: Deadline
    ) -> Floats:
        deadline.check("encode")
        tensor = InferInput(INPUT, list(batch.shape), dtype)
        tensor.set_data_from_numpy(np.ascontiguousarray(batch))
        remaining = deadline.remaining()
        try:
            result = await self._client.infer(
                spec.name + suffix,
                [tensor],
                outputs=[InferRequestedOutput(OUTPUT)],
                timeout=max(1, int(remaining * 1e6)),
                client_timeout=remaining,
                headers=self._headers,
            )
        except InferenceServerException as error:
            failure = translate(error)
            if isinstance(failure, errors.ModelNotFound):
                # It was there a moment ago: that Triton is stopping or reloading.
                failure = errors.ModelUnavailable(f"model {spec.name!r} is not served just now; try again")
            raise failure from error
        embeddings = result.as_numpy(OUTPUT)
        expected = (len(batch), spec.embed_dim)
        # Triton's libtorch backend does not check the dimensions that a model gives back.
        if embeddings is None or embeddings.shape != expected or embeddings.dtype != np.float32:
            found = None if embeddings is None else (embeddings.dtype, embeddings.shape)
            raise errors.InferenceFailed(
                f"{spec.name}{suffix} answered {found} instead of float32 {expected}"
            )
        return embeddings

    async def towers(self, names: Sequence[str], timeout: float) -> list[TowerConfig]:
        """The configurations of the Triton models named; those that are gone by now are passed over."""
        found = []
        for name in names:
            try:
                response = await self._client.get_model_config(
                    name, headers=self._headers, client_timeout=timeout
                )
            except InferenceServerException as error:
                if isinstance(translate(error), errors.ModelNotFound):
                    continue
                raise translate(error) from error
            config = response.config
            parameters = {key: value.string_value for key, value in config.parameters.items()}
            found.append(TowerConfig(config.name, config.max_batch_size, parameters))
        return found

    async def repository_index(self, timeout: float) -> dict[str, bool]:
        """Every model in Triton's repository, and whether it is ready.

        Raises ServerUnavailable or DeadlineExceeded where Triton does not answer.
        """
        try:
            index = await self._client.get_model_repository_index(
                headers=self._headers, client_timeout=timeout
            )
        except InferenceServerException as error:
            raise translate(error) from error
        ready: dict[str, bool] = {}
        for model in index.models:
            ready[model.name] = ready.get(model.name, False) or model.state == "READY"
        return ready

    async def completed(self, timeout: float) -> dict[str, int]:
        """How many inputs each Triton model has answered since it was loaded.

        Raises as repository_index does.
        """
        try:
            statistics = await self._client.get_inference_statistics(
                headers=self._headers, client_timeout=timeout
            )
        except InferenceServerException as error:
            raise translate(error) from error
        counts: Counter[str] = Counter()
        for model in statistics.model_stats:
            counts[model.name] += model.inference_count
        return dict(counts)


def translate(error: InferenceServerException) -> errors.ClipserveError:
    """What an error of Triton's means here.

    Triton tells a full queue and an expired one by the words of UNAVAILABLE alone.
    """
    code, words = str(error.status() or ""), str(error.message() or "")
    if "Exceeds maximum queue size" in words:
        return errors.Overloaded("the model's queue is full; try again later")
    if code.endswith("DEADLINE_EXCEEDED") or "timeout expired" in words.lower():
        return errors.DeadlineExceeded("the deadline passed during encode", metadata={"stage": "encode"})
    if code.endswith("NOT_FOUND") or "unknown model" in words or "no available versions" in words:
        return errors.ModelNotFound(f"Triton does not serve this model: {words}")
    if "protocol is restricted" in words:
        return errors.ModelUnavailable(
            "the inference server wants a key that this gateway does not show (CLIPSERVE_TRITON_HEADERS_FILE)"
        )
    if code.endswith(("UNAVAILABLE", "CANCELLED")):
        return errors.ServerUnavailable("the inference server does not answer; try again in a few seconds")
    return errors.InferenceFailed(f"the inference server refused the input: {words[:300]}")
