"""Results of classifying, embedding and searching."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from clipserve.errors import ClipserveError
from clipserve.types.embeddings import BIT_FORMATS, EmbeddingFormat, dequantize
from clipserve.types.payload import Floats, Payload
from clipserve.types.server import ModelRef

if TYPE_CHECKING:
    from clipserve.inputs.image_like import ImageLike


@dataclass(frozen=True)
class LabelScore:
    """The score of one label for one image."""

    label: str
    index: int
    """Position in the caller's labels."""
    probability: float | None
    """0…1, higher is better; None if the model has no meaningful probability. `ClassifyResult.score` says
    how it is computed."""
    cosine: float
    """Cosine of the image embedding and the label embedding, −1…1, higher is better."""
    above_threshold: bool | None
    """Whether the cosine is at or above the label's threshold; None without thresholds."""


@dataclass(frozen=True)
class Classification:
    """The best labels of one image, best first, or the error of this image."""

    scores: tuple[LabelScore, ...] = ()
    error: ClipserveError | None = None

    @property
    def best(self) -> LabelScore:
        """The best label. Raises the image's error if it has one."""
        if self.error is not None:
            raise self.error
        return self.scores[0]

    @property
    def label(self) -> str:
        """The name of the best label. Raises the image's error if it has one."""
        return self.best.label


@dataclass(frozen=True)
class LabelWarning:
    """A likely problem of labels."""

    reason: str
    """``same``: the model reads the labels as one text, so they share one probability. ``cut``: prompts of
    the labels are longer than the model's context and are truncated. Empty for other reasons."""
    labels: tuple[int, ...]
    """Positions in the caller's labels, the first 16; empty for prompts of ``none_of_the_above``."""
    count: int
    """Number of affected labels."""
    message: str
    """One sentence for people."""


@dataclass(frozen=True)
class ClassifyResult:
    """A sequence of classifications, one for each image, in the order of the images."""

    results: tuple[Classification, ...]
    model: ModelRef | None
    """None if no image reached the server."""
    mode: str
    """``softmax`` or ``independent``, as the server answered."""
    logit_scale: float
    """Factor of cosines before softmax or sigmoid."""
    truncated_prompts: int
    """Number of prompts that were truncated to the model's context."""
    label_set: str | None = None
    """The stored label set of the call, with its version: ``pets@3``."""
    warnings: tuple[LabelWarning, ...] = ()
    """Likely problems of the labels."""
    logit_bias: float | None = None
    """The model's bias before the sigmoid; None for models without one."""

    @property
    def score(self) -> Literal["softmax", "sigmoid", "cosine"]:
        """What the labels of an image are scored by.

        ``softmax``: probabilities of all labels that add up to 1. ``sigmoid``: each label has the probability
        sigmoid(logit_scale × cosine + logit_bias), whatever the other labels are. ``cosine``: there are no
        probabilities.
        """
        if self.mode == "softmax":
            return "softmax"
        return "cosine" if self.logit_bias is None else "sigmoid"

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Classification]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Classification:
        return self.results[index]

    @property
    def errors(self) -> dict[int, ClipserveError]:
        """Errors by the image's position."""
        return {i: result.error for i, result in enumerate(self.results) if result.error is not None}


@dataclass(frozen=True, eq=False)
class EmbedResult:
    """Embeddings in the order of the items."""

    embeddings: npt.NDArray[Any]
    """[N, D] of float32, float16, int8 or uint8; for ``binary`` (int8) and ``ubinary`` (uint8), [N, D / 8].
    The rows of failed items are NaN, or 0 in formats of integers and bits."""
    model: ModelRef | None
    """None if no item reached the server."""
    normalized: bool
    """Whether the embeddings have length 1; of integers and bits: before they were rounded."""
    truncated: tuple[int, ...] = ()
    """Positions of texts that were truncated to the model's context."""
    errors: Mapping[int, ClipserveError] = field(default_factory=dict)
    """Errors by the item's position."""
    format: EmbeddingFormat = "float32"
    """The format of `embeddings`."""
    tokens: tuple[int, ...] = ()
    """Tokens of each text that the model read, start and end included; 0 for images and failed items, and
    from servers that do not tell."""

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def dimensions(self) -> int:
        """D, the number of dimensions of an embedding."""
        return self.embeddings.shape[1] * (8 if self.format in BIT_FORMATS else 1)

    @property
    def floats(self) -> Floats:
        """float32 [N, D], from any format: see `dequantize`. The rows of failed items are NaN."""
        floats = dequantize(self.embeddings, self.format)
        floats[list(self.errors)] = np.nan
        return floats


@dataclass(frozen=True)
class Hit:
    """A point that a search found."""

    id: str
    score: float
    """Cosine of query and point, −1…1, higher is better."""
    payload: Payload = field(default_factory=dict)
    percentile: float | None = None
    """Percentage of random pairs with a lower score, 0…100. Comparable across queries and models; low for
    words that the model does not know. None unless the query is one text, one image or one id, and None in
    collections with fewer than 20 points."""
    duplicates: tuple[Hit, ...] = ()
    """Near-duplicates that were left out in favor of this hit, best first, at most 100."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """One part of a query: exactly one of text, image, embedding and like (a point's id), and its weight."""

    weight: float
    """Finite and not 0. A negative weight moves the query away from the part."""
    _: KW_ONLY
    text: str | None = None
    image: ImageLike | None = None
    embedding: npt.ArrayLike | None = None
    like: str | None = None


@dataclass(frozen=True)
class SearchResult:
    """A sequence of hits, best first."""

    hits: tuple[Hit, ...]
    model: ModelRef
    truncated: bool
    """Whether the query text was truncated to the model's context."""
    incomplete: bool = False
    """For grouped hits: whether groups can be missing because very many points have similar scores."""
    weak_match: bool = False
    """Whether there are hits but none of them has a percentile of 95 or more."""

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __getitem__(self, index: int) -> Hit:
        return self.hits[index]
