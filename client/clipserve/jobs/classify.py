"""Classify lists of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clipserve.errors import Conflict, LimitExceeded
from clipserve.inputs.image_like import ImageLike
from clipserve.jobs.base import Job, OnError
from clipserve.jobs.inputs import read_image
from clipserve.jobs.warn import check_label_names, warn_of_labels
from clipserve.labels import LabelSet
from clipserve.messages.requests import Capacity, Chunk, check_list, item_bytes, rebaser, request_capacity
from clipserve.messages.responses import MODE_NAMES, MODES, read_classification
from clipserve.safe_text import quoted
from clipserve.types import Classification, ClassifyResult, LabelWarning, ServerInfo
from clipserve.v1 import clip_pb2
from clipserve.wire.label_sets import read_ref, read_warnings, write_labels, write_ref

SECONDS_PER_PROMPT = 0.01
"""Added to the default timeout per prompt: encoding 80,000 prompts can take a slow server many minutes."""
NEGATIVE_WORDS = 1_000
"""Number of prompts of the server's negative words, which it encodes once for each model."""
STORED_SECONDS = 240.0
"""Added to the default timeout for a stored label set, whose size the client does not know."""
STORED_NAME_BYTES = 256
"""Assumed length of the names in a stored label set if the server does not limit it."""


def max_name_bytes(labels: clip_pb2.LabelSet) -> int:
    """Length of the longest name in answers. The server's default name is `none of the above`."""
    names = list(labels.names)
    if labels.HasField("none_of_the_above"):
        names.append(labels.none_of_the_above.name or "none of the above")
    return max((len(name.encode()) for name in names), default=0)


class ClassifyJob(Job[ClassifyResult]):
    """Classifies images with given labels, or with those of a stored label set (`pets@3`)."""

    method = "Classify"

    def __init__(
        self,
        images: Iterable[ImageLike],
        labels: LabelSet | str,
        *,
        top_k: int = 5,
        mode: str | None = None,
        model: str = "",
        on_error: OnError = "raise",
    ) -> None:
        check_list(images, "images", "images")
        if mode is not None and mode not in MODES:
            raise ValueError(f"mode is {' or '.join(map(repr, MODES))}, not {quoted(mode)}")
        super().__init__("images", images, on_error)
        self._labels: clip_pb2.LabelSet | None = None
        self._ref: clip_pb2.LabelSetRef | None = None
        if isinstance(labels, LabelSet):
            self._labels = write_labels(labels)
            self._texts = check_label_names(labels)
            self._count = len(labels.names) + (labels.none_of_the_above is not None)
            self._name_bytes = max_name_bytes(self._labels)
            prompts = len(labels.names) * max(1, len(labels.templates))
            if labels.none_of_the_above is not None and not labels.none_of_the_above.prompts:
                prompts += NEGATIVE_WORDS
            self._label_seconds = SECONDS_PER_PROMPT * prompts
        else:
            self._ref = write_ref(labels)
            self._count = 0
            self._name_bytes = 0
            self._label_seconds = STORED_SECONDS
        self._top_k = top_k
        self._requested_mode = mode
        self._mode = mode or "softmax"
        self._model_name = model
        self._results: dict[int, Classification] = {}
        self._scale = 0.0
        self._bias: float | None = None
        self._truncated = 0
        self._label_set: str | None = None
        self._warnings: tuple[LabelWarning, ...] = ()

    def capacity(self, info: ServerInfo, batch_size: int) -> Capacity:
        """Every request repeats the labels. A response has the top labels of each image."""
        base_bytes = item_bytes(self._labels) if self._labels is not None else 0
        if base_bytes > info.limits.max_message_bytes // 2:
            raise LimitExceeded("the labels alone fill a message; give fewer or shorter ones", field="labels")
        # The server refuses requests whose answers could be too large for a message.
        name_bytes = self._name_bytes or info.limits.max_label_bytes or STORED_NAME_BYTES
        scores = max(0, min(self._top_k or 5, self._count or info.limits.max_labels + 1))
        answer_bytes = scores * (name_bytes + 32) + 2048
        return request_capacity(info.limits, batch_size, base_bytes=base_bytes, answer_bytes=answer_bytes)

    def write(self, item: Any, info: ServerInfo) -> tuple[Any, int]:
        """One image."""
        message = read_image(item, info)
        return message, item_bytes(message)

    def request(self, values: Sequence[Any]) -> clip_pb2.ClassifyRequest:
        return clip_pb2.ClassifyRequest(
            model=self._model_name,
            images=values,
            labels=self._labels,
            label_set=self._ref,
            top_k=self._top_k,
            score_mode=MODES.get(self._requested_mode or "", clip_pb2.SCORE_MODE_UNSPECIFIED),
        )

    def extra_seconds(self, chunk: Chunk) -> float:
        """Adds the time to encode the labels."""
        return super().extra_seconds(chunk) + self._label_seconds

    def add_response(self, chunk: Chunk, response: clip_pb2.ClassifyResponse) -> None:
        self._check_model(response.model)
        self._scale = response.logit_scale
        self._bias = response.logit_bias if response.HasField("logit_bias") else None
        self._mode = MODE_NAMES.get(response.score_mode, self._mode)
        self._truncated = max(self._truncated, response.truncated_prompts)
        self._warnings = read_warnings(response.warnings)
        if response.HasField("label_set"):
            self._check_label_set(read_ref(response.label_set))
        rebase = rebaser(self.name, chunk.positions)
        for position, message in zip(chunk.positions, response.results, strict=True):
            result = read_classification(message, rebase)
            self._results[position] = result
            if result.error is not None:
                self.errors[position] = result.error

    def _check_label_set(self, label_set: str) -> None:
        """Conflict if an earlier response used another version of the label set."""
        if self._label_set not in (None, label_set):
            raise Conflict(f"label set {self._label_set} became {label_set} during the call; repeat the call")
        self._label_set = label_set

    def outcome(self) -> ClassifyResult:
        return ClassifyResult(
            results=tuple(
                self._results.get(position) or Classification(error=self.errors[position])
                for position in range(self.total)
            ),
            model=self._model,
            mode=self._mode,
            logit_scale=self._scale,
            logit_bias=self._bias,
            truncated_prompts=self._truncated,
            label_set=self._label_set,
            warnings=self._warnings,
        )

    def warn(self) -> None:
        """Also gives the server's warnings of labels."""
        super().warn()
        warn_of_labels(self._warnings)
