"""Scoring lists of images against labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clipserve.errors import Conflict, LimitExceeded
from clipserve.inputs.image_like import ImageLike
from clipserve.jobs.base import Job, OnError
from clipserve.jobs.inputs import read_image
from clipserve.jobs.warn import label_check, warn_of_labels
from clipserve.labels import LabelSet, parse_ref
from clipserve.messages.requests import Chunk, Room, check_list, rebaser, room_for, wire_size
from clipserve.messages.responses import MODE_NAMES, MODES, read_classification
from clipserve.safe_text import quoted
from clipserve.types import Classification, ClassifyResult, LabelWarning, ServerInfo
from clipserve.v1 import clip_pb2
from clipserve.wire.label_sets import read_ref, read_warnings, write_labels

SECONDS_PER_PROMPT = 0.01
"""Added to the default timeout: 1,000 labels in 80 templates take a slow server many minutes, once."""
NEGATIVE_WORDS = 1_000
"""Prompts of the server's negative words, which are encoded once for each model."""
STORED_SECONDS = 240.0
"""Added for a stored label set, whose size is not known here: its first user waits until it is encoded."""
STORED_NAME_BYTES = 256
"""Assumed of the names in a stored label set where the server does not limit labels."""


def answers(labels: clip_pb2.LabelSet) -> list[str]:
    """The labels and the name of none of the above, which the server names where the request does not."""
    none = (
        [labels.none_of_the_above.name or "none of the above"] if labels.HasField("none_of_the_above") else []
    )
    return [*labels.names, *none] or [""]


class ClassifyJob(Job[ClassifyResult]):
    """Scores images against labels: given ones, or those of a stored label set (`pets@3`)."""

    method = "Classify"

    def __init__(
        self,
        images: Iterable[ImageLike],
        labels: LabelSet | str,
        *,
        top_k: int = 5,
        mode: str = "softmax",
        model: str = "",
        on_error: OnError = "raise",
    ) -> None:
        check_list(images, "images", "images")
        if mode not in MODES:
            raise ValueError(f"mode is {' or '.join(map(repr, MODES))}, not {quoted(mode)}")
        super().__init__("images", images, on_error)
        self._labels: clip_pb2.LabelSet | None = None
        self._ref: clip_pb2.LabelSetRef | None = None
        if isinstance(labels, LabelSet):
            self._labels = write_labels(labels)
            self._texts = label_check(labels)
            self._count = len(labels.names) + (labels.none_of_the_above is not None)
            self._widest = max(len(name.encode()) for name in answers(self._labels))
            prompts = len(labels.names) * max(1, len(labels.templates))
            if labels.none_of_the_above is not None and not labels.none_of_the_above.prompts:
                prompts += NEGATIVE_WORDS
            self._label_seconds = SECONDS_PER_PROMPT * prompts
        else:
            name, version = parse_ref(labels)
            self._ref = clip_pb2.LabelSetRef(name=name, version=version)
            self._count = 0
            self._widest = 0
            self._label_seconds = STORED_SECONDS
        self._top_k = top_k
        self._mode = mode
        self._model_name = model
        self._found: dict[int, Classification] = {}
        self._scale = 0.0
        self._truncated = 0
        self._label_set: str | None = None
        self._warnings: tuple[LabelWarning, ...] = ()

    def room(self, info: ServerInfo, batch_size: int) -> Room:
        """Every request repeats the labels; answers hold the best of them for each image."""
        scores = min(self._top_k or 5, self._count or info.limits.max_labels + 1)
        base = wire_size(self._labels) if self._labels is not None else 0
        # The server refuses what could be too large an answer, and how wide stored labels are is not known.
        widest = self._widest or info.limits.max_label_bytes or STORED_NAME_BYTES
        if base > info.limits.max_message_bytes // 2:
            raise LimitExceeded("the labels alone fill a message; give fewer or shorter ones", field="labels")
        return room_for(
            max_items=info.limits.max_items_per_call,
            max_message_bytes=info.limits.max_message_bytes,
            base_bytes=base,
            answer_bytes=max(0, scores) * (widest + 32) + 2048,
            batch_size=batch_size,
        )

    def write(self, item: Any, info: ServerInfo) -> tuple[Any, int]:
        """One image."""
        message = read_image(item, info)
        return message, wire_size(message)

    def request(self, values: Sequence[Any]) -> clip_pb2.ClassifyRequest:
        """A Classify request."""
        return clip_pb2.ClassifyRequest(
            model=self._model_name,
            images=values,
            labels=self._labels,
            label_set=self._ref,
            top_k=self._top_k,
            score_mode=MODES[self._mode],
        )

    def extra_seconds(self, chunk: Chunk) -> float:
        """Labels may have to be encoded first."""
        return super().extra_seconds(chunk) + self._label_seconds

    def take(self, chunk: Chunk, response: clip_pb2.ClassifyResponse) -> None:
        """Notes labels and errors."""
        self._note_model(response.model)
        self._scale = response.logit_scale
        self._mode = MODE_NAMES.get(response.score_mode, self._mode)
        self._truncated = max(self._truncated, response.truncated_prompts)
        self._warnings = read_warnings(response.warnings)
        if response.HasField("label_set"):
            self._note_label_set(read_ref(response.label_set))
        rebase = rebaser(self.name, chunk.positions)
        for position, result in zip(chunk.positions, response.results, strict=True):
            found = read_classification(result, rebase)
            self._found[position] = found
            if found.error is not None:
                self.errors[position] = found.error

    def _note_label_set(self, found: str) -> None:
        """The label set that was used; Conflict if it is another version than before."""
        if self._label_set not in (None, found):
            raise Conflict(
                f"label set {self._label_set} became {found} while the call was under way; start it again"
            )
        self._label_set = found

    def outcome(self) -> ClassifyResult:
        """One classification for each image."""
        return ClassifyResult(
            results=tuple(
                self._found.get(position) or Classification(error=self.errors[position])
                for position in range(self.total)
            ),
            model=self._model,
            mode=self._mode,
            logit_scale=self._scale,
            truncated_prompts=self._truncated,
            label_set=self._label_set,
            warnings=self._warnings,
        )

    def warn(self) -> None:
        """Of labels that are no words, or that the model cannot tell apart."""
        super().warn()
        warn_of_labels(self._warnings)
