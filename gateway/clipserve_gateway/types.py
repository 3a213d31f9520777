"""What the domain talks about: plain values, no protobuf, no engine, no server.

Shapes: B items of a batch, L labels, D = embed_dim. Embeddings are float32.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from clipserve_gateway.errors import ClipserveError, InvalidInput

Floats: TypeAlias = npt.NDArray[np.float32]
Pixels: TypeAlias = npt.NDArray[np.uint8]
"""RGB, [image_size, image_size, 3], 0–255."""
Ids: TypeAlias = npt.NDArray[np.int32]
Tower: TypeAlias = Literal["image", "text"]

PayloadValue: TypeAlias = str | int | float | bool | dt.datetime | list[str]
"""Datetimes are timezone-aware, UTC, to the microsecond."""
Payload: TypeAlias = dict[str, PayloadValue]


@dataclass(frozen=True)
class EncodedImage:
    """An encoded file, as it came in."""

    content: bytes
    exact: bool = False
    """Whether it is to be decoded exactly, whatever the server's setting."""


@dataclass(frozen=True)
class RawImage:
    """Decoded RGB8 pixels, row by row: width × height × 3 bytes."""

    rgb: bytes
    width: int
    height: int
    exact: bool = False
    """As in EncodedImage."""


Image: TypeAlias = EncodedImage | RawImage | InvalidInput
Input: TypeAlias = EncodedImage | RawImage | str | InvalidInput
"""An InvalidInput stands for an item that was refused at the door: it becomes that item's answer."""


@dataclass(frozen=True)
class Tokens:
    """Token ids of one text, start and end included, without padding: int32 [n ≤ context_length]."""

    ids: Ids
    truncated: bool


@dataclass(frozen=True)
class Limits:
    """What requests must keep to; published by GetServerInfo."""

    max_message_bytes: int
    max_items_per_call: int
    max_image_bytes: int
    max_image_pixels: int
    max_labels: int
    max_prompts: int
    max_top_k: int
    max_text_bytes: int
    stream_window: int
    max_payload_bytes: int
    max_page_size: int
    max_label_bytes: int
    max_filter_bytes: int
    max_held_bytes: int
    max_calls_per_caller: int
    max_streams_per_caller: int


@dataclass(frozen=True)
class Canary:
    """Inputs with the embeddings that the original model gives for them: raw, float32 little-endian [D]."""

    image: bytes
    """An encoded picture; goes through the ordinary preprocessing."""
    image_embedding: bytes
    text: str
    text_embedding: bytes


@dataclass(frozen=True)
class ModelSpec:
    """A model as Triton's configuration describes it."""

    name: str
    fingerprint: str
    embed_dim: int
    image_size: int
    context_length: int
    fixed_text_length: bool
    logit_scale: float
    logit_bias: float | None
    architecture: str
    pretrained: str
    precision: str
    max_image_batch: int
    max_text_batch: int
    canary: Canary | None = None
    """None if the model was exported without one: its answers cannot be checked."""
    version: str = "1"
    """Of both towers in Triton; requests name it."""


@dataclass(frozen=True)
class Embedded:
    """One embedding, float32 [D], or why there is none."""

    embedding: Floats | None = None
    truncated: bool = False
    error: ClipserveError | None = None


class ScoreMode(enum.Enum):
    """How cosines become scores."""

    SOFTMAX = "softmax"
    INDEPENDENT = "independent"


@dataclass(frozen=True)
class NoneOfTheAbove:
    """An answer for pictures that fit no label."""

    name: str
    prompts: tuple[str, ...] = ()
    """Whole prompts by which it is scored like a label; none lets negative words stand for it."""
    threshold: float = 0.0


@dataclass(frozen=True)
class LabelSet:
    """Ordered, distinct labels and the prompts they are put into."""

    names: tuple[str, ...]
    templates: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    none_of_the_above: NoneOfTheAbove | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        """The labels and, after them, none of the above."""
        none = self.none_of_the_above
        return self.names if none is None else (*self.names, none.name)

    @property
    def needs_negative_words(self) -> bool:
        """Whether none of the above has no prompts of its own."""
        return self.none_of_the_above is not None and not self.none_of_the_above.prompts

    @property
    def rows(self) -> int:
        """Embeddings of its own: one for each answer, unless negative words stand for the last."""
        return len(self.answers) - self.needs_negative_words

    @property
    def answer_thresholds(self) -> tuple[float, ...]:
        """One for each answer, or none at all."""
        none = self.none_of_the_above
        return self.thresholds if none is None or not self.thresholds else (*self.thresholds, none.threshold)


@dataclass(frozen=True)
class LabelSetRef:
    """A label set that is kept under a name; version 0 means the latest."""

    name: str
    version: int = 0


@dataclass(frozen=True)
class LabelScore:
    """One label of one image: cosine −1…1; probability 0…1 where the model gives a meaningful one."""

    label: str
    index: int
    cosine: float
    probability: float | None
    above_threshold: bool | None


@dataclass(frozen=True)
class Classified:
    """The best labels of one image, best first, or why there are none."""

    scores: Sequence[LabelScore] = ()
    error: ClipserveError | None = None


class PayloadType(enum.Enum):
    """Types of payload fields."""

    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    STRING_LIST = "string_list"


@dataclass(frozen=True)
class IndexOptions:
    """Of a collection's vector index; 0 leaves a number to the engine.

    HNSW's own names: `m` links of a node, `ef_construction` and `ef_search` candidates looked at.
    """

    exact: bool = False
    """No index: every search compares with every point."""
    m: int = 0
    ef_construction: int = 0
    ef_search: int = 0


@dataclass(frozen=True)
class TableSpec:
    """What an engine knows of a table of points. Its name is never used twice."""

    name: str
    dim: int
    schema: Mapping[str, PayloadType]
    keep_sources: bool = False
    index: IndexOptions = field(default_factory=IndexOptions)
    stamped: bool = False
    """Whether each row holds its point's `stamp`."""


@dataclass(frozen=True)
class Source:
    """What a point was made of: an encoded image file, or a text in UTF-8."""

    kind: Literal["image", "text"]
    content: bytes


@dataclass(frozen=True)
class Point:
    """A stored point. What was not asked for is None: an L2-normalized float32 [D], and the kept source."""

    id: str
    payload: Payload = field(default_factory=dict)
    embedding: Floats | None = None
    source: Source | None = None
    source_uri: str = ""
    """Where the source can be read again; empty if nowhere."""
    stamp: int = field(default=0, compare=False)
    """The write that made the point: the same number in all tables it was written to, drawn by chance from
    1 … 2^63 - 1. 0 where the table holds no stamps."""


@dataclass(frozen=True)
class Hit:
    """A point that was found; score is the cosine, −1…1, a float32. The embedding only where asked for."""

    id: str
    score: float
    payload: Payload
    embedding: Floats | None = field(default=None, compare=False)


class IndexState(enum.Enum):
    """How far a table's vector index has come."""

    NONE = "none"
    """Too few points to need one, or none is wanted: searches are exact."""
    BUILDING = "building"
    READY = "ready"


@dataclass(frozen=True)
class TableStatus:
    """A table's points, how many of them the vector index holds, and the index's state."""

    points: int
    indexed: int
    state: IndexState


@dataclass(frozen=True)
class Eq:
    """field == value; for lists of strings: the list contains the string."""

    field: str
    value: PayloadValue


@dataclass(frozen=True)
class In:
    """field equals one of the values."""

    field: str
    values: tuple[PayloadValue, ...]


@dataclass(frozen=True)
class Range:
    """lower bound ≤ field ≤ upper bound; bounds that are None do not bind."""

    field: str
    gt: PayloadValue | None = None
    gte: PayloadValue | None = None
    lt: PayloadValue | None = None
    lte: PayloadValue | None = None


@dataclass(frozen=True)
class And:
    """Every filter holds."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """At least one filter holds."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    """The filter does not hold; comparing a field that is not there is false, so its negation is true."""

    filter: Filter


Filter: TypeAlias = Eq | In | Range | And | Or | Not
