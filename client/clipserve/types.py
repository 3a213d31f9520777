"""What calls return: small frozen values. Shapes: N items, D = embed_dim."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from clipserve.errors import ClipserveError
from clipserve.labels import LabelSet

if TYPE_CHECKING:
    from clipserve.inputs.image_like import ImageLike

Floats: TypeAlias = npt.NDArray[np.float32]

PayloadValue: TypeAlias = str | int | float | bool | dt.datetime | Sequence[str]
"""Datetimes must know their time zone; they come back in UTC. Lists of strings come back as lists."""
Payload: TypeAlias = Mapping[str, PayloadValue]


@dataclass(frozen=True)
class ModelRef:
    """The model that answered. Embeddings of different fingerprints must never be compared."""

    name: str
    fingerprint: str
    """64 hex digits over weights, architecture, preprocessing and tokenizer."""
    embed_dim: int


@dataclass(frozen=True)
class ModelInfo:
    """One model of a server."""

    ref: ModelRef
    ready: bool
    architecture: str
    pretrained: str
    image_size: int
    """Side in pixels of the square that the image encoder sees."""
    context_length: int
    """Tokens that the text encoder sees at most."""
    logit_scale: float
    """What cosines are multiplied by before softmax."""
    logit_bias: float | None
    precision: str

    @property
    def name(self) -> str:
        """The model's name."""
        return self.ref.name


@dataclass(frozen=True)
class Limits:
    """What requests must keep to; the client cuts long lists by these."""

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
    max_page_size: int = 0
    max_label_bytes: int = 0
    max_filter_bytes: int = 0
    max_held_bytes: int = 0
    max_calls_per_caller: int = 0
    max_streams_per_caller: int = 0


@dataclass(frozen=True)
class ServerInfo:
    """What a server can do."""

    version: str
    models: tuple[ModelInfo, ...]
    default_model: str
    """The model of calls that name none; empty where a name is needed."""
    limits: Limits
    engine: str = ""
    """The index engine: ``lancedb`` or ``milvus``."""
    keeps_sources: bool = False
    """Whether collections can keep what their points were made of."""
    restores_sources: bool = False
    """Whether points may be written with an embedding and what it was made of."""
    inserts_new_points: bool = False
    """Whether ``Point.must_be_new`` is heeded."""


@dataclass(frozen=True)
class LabelScore:
    """One label of one image."""

    label: str
    index: int
    """Position in the caller's labels."""
    probability: float | None
    """0…1, higher is better; None where the model gives no meaningful one."""
    cosine: float
    """Of image and label embedding, −1…1, higher is better."""
    above_threshold: bool | None
    """Whether the cosine reaches the label's threshold; None without thresholds."""


@dataclass(frozen=True)
class Classification:
    """The best labels of one image, best first, or why there are none."""

    scores: tuple[LabelScore, ...] = ()
    error: ClipserveError | None = None

    @property
    def best(self) -> LabelScore:
        """The best label; raises the image's error if it has one."""
        if self.error is not None:
            raise self.error
        return self.scores[0]

    @property
    def label(self) -> str:
        """Name of the best label; raises the image's error if it has one."""
        return self.best.label


@dataclass(frozen=True)
class LabelWarning:
    """Something about labels that a person should know."""

    reason: str
    """``same``: the labels are one text to the model and share one probability. ``cut``: prompts of the
    labels are longer than the model's context and lose their end. Empty where it is something else."""
    labels: tuple[int, ...]
    """Positions in the caller's labels, the first 16; empty where it is about none of the above."""
    count: int
    """How many labels there are."""
    message: str
    """One sentence for people."""


@dataclass(frozen=True)
class ClassifyResult:
    """A sequence of classifications, one for each image in the order given."""

    results: tuple[Classification, ...]
    model: ModelRef | None
    """None if no image reached the server."""
    mode: str
    """``softmax`` or ``independent``."""
    logit_scale: float
    truncated_prompts: int
    """Prompts that lost their end because they are longer than the model's context."""
    label_set: str | None = None
    """The stored label set that was used, with its version: ``pets@3``."""
    warnings: tuple[LabelWarning, ...] = ()
    """What is to be known of the labels."""

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
    """Embeddings in the order given."""

    embeddings: Floats
    """float32 [N, D]; the rows of items that failed are NaN."""
    model: ModelRef | None
    """None if no item reached the server."""
    normalized: bool
    """Whether the embeddings have length 1."""
    truncated: tuple[int, ...] = ()
    """Positions of texts that lost their end because they are longer than the model's context."""
    errors: Mapping[int, ClipserveError] = field(default_factory=dict)
    """Errors by the item's position."""

    def __len__(self) -> int:
        return len(self.embeddings)


@dataclass(frozen=True)
class Hit:
    """A point that was found."""

    id: str
    score: float
    """Cosine of query and point, −1…1, higher is better."""
    payload: Payload = field(default_factory=dict)
    percentile: float | None = None
    """Share of unrelated pairs that match less well, 0…100; comparable across queries and models, and low for
    words that the model does not know. None for queries that are neither a text alone nor a picture or id
    alone, and in collections of fewer than 20 points."""
    duplicates: tuple[Hit, ...] = ()
    """Near-duplicates that were left out for this hit, best first, at most 100."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """One part of a query: exactly one of text, image, embedding and like (a point's id), and its weight."""

    weight: float
    """Finite, not 0; negative leads away from it."""
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
    """Whether the query text lost its end because it is longer than the model's context."""
    incomplete: bool = False
    """Of grouped hits: whether very many points lie as near, so that other groups may be missing."""
    weak_match: bool = False
    """Whether nothing here matches well: there are hits, and not even the best has a percentile of 95."""

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __getitem__(self, index: int) -> Hit:
        return self.hits[index]


@dataclass(frozen=True)
class IndexOptions:
    """Options of a collection's vector index (HNSW); 0 leaves a number to the engine."""

    exact: bool = False
    """No index: every search compares with every point."""
    m: int = 0
    """Links of a node, 4…128: more finds more and takes more memory."""
    ef_construction: int = 0
    """Candidates looked at for each point while the index is built, 8…4,096."""
    ef_search: int = 0
    """Candidates looked at in each search, 8…4,096: more finds more and takes longer."""


@dataclass(frozen=True)
class IndexStatus:
    """How far an index has come."""

    state: str
    """``none`` (searches are exact), ``building`` or ``ready``."""
    indexed: int
    """Points that it holds."""


@dataclass(frozen=True)
class ScoreStatistics:
    """How cosines of unrelated pairs are spread in a collection."""

    query: str
    """``text`` (everyday texts × points) or ``image`` (points × points)."""
    pairs: int
    mean: float
    stddev: float
    p50: float
    """Cosine below which half of the pairs lie; likewise 95 %, 99 % and 99.9 %."""
    p95: float
    p99: float
    p999: float


@dataclass(frozen=True)
class FailedPoint:
    """A point that could not be embedded anew."""

    id: str
    message: str


@dataclass(frozen=True)
class NeighborOverlap:
    """How many neighbors two models have in common. Not a measure of quality: a better model finds others."""

    k: int
    """Neighbors compared for each query."""
    queries: int
    mean: float
    """Mean share of neighbors that both models find, 0…1."""
    p10: float
    """Share that one query in ten stays below."""


@dataclass(frozen=True)
class Migration:
    """A migration of a collection to another model."""

    state: str
    """``running``, ``ready`` (to be switched), ``switched``, or ``waiting`` (until it is tried again)."""
    source: ModelRef
    """The model that answered before."""
    target: ModelRef
    """The model that answers after."""
    total: int
    """Points to embed anew, as counted at the start."""
    done: int
    """Points that have been looked at."""
    failed: int
    """Points without an embedding by the new model."""
    failures: tuple[FailedPoint, ...]
    """The first of them, at most 16."""
    overlap: NeighborOverlap | None
    """What became of the neighbors, once it is ready."""
    error: str
    """Why it waits."""
    start_time: dt.datetime


@dataclass(frozen=True)
class Collection:
    """A collection of embedded points."""

    name: str
    model: ModelRef
    metric: str
    """``cosine``."""
    schema: Mapping[str, str]
    """Type of each payload field: string, int, double, bool, timestamp or string_list."""
    count: int
    create_time: dt.datetime
    aliases: tuple[str, ...] = ()
    """Other names that mean it."""
    keep_sources: bool = False
    """Whether points are stored with what they were made of."""
    index_options: IndexOptions = IndexOptions()
    index_status: IndexStatus | None = None
    """None in lists."""
    migration: Migration | None = None
    """The migration to another model that has not been ended."""
    score_statistics: tuple[ScoreStatistics, ...] = ()
    """Empty in lists, and until there are points enough."""


@dataclass(frozen=True, eq=False)
class Point:
    """A point to write: an id, exactly one of image, text and embedding, and a payload.

    An embedding may come with the image or text that it was made of, which a collection that keeps its
    sources then keeps: so points are restored without being embedded anew.
    """

    id: str
    """UTF-8, 1–512 bytes, unique in the collection."""
    image: ImageLike | None = None
    text: str | None = None
    embedding: npt.ArrayLike | None = None
    """D numbers of the collection's model, normalized by the server."""
    payload: Payload = field(default_factory=dict)
    source_uri: str = ""
    """Where the image or text can be read again when the collection moves to another model, e.g.
    ``file:///data/photos/1.jpg``; at most 2,048 bytes."""
    must_be_new: bool = False
    """Write it only if the collection has no point of this id; else its error is `PointExists`. A call that
    was repeated after a lost answer finds its own point. Needs ``ServerInfo.inserts_new_points``."""


@dataclass(frozen=True, eq=False)
class StoredPoint:
    """A point as it is stored."""

    id: str
    payload: Payload
    embedding: Floats | None
    """L2-normalized float32 [D], if it was asked for."""
    image: bytes | None = None
    """The encoded picture that it was made of, if that was asked for and is kept."""
    text: str | None = None
    """The text that it was made of, likewise."""
    source_uri: str = ""
    """Where its source can be read again, if that is known."""


@dataclass(frozen=True)
class UpsertResult:
    """What became of the points."""

    written: int
    """Points that are on disk now."""
    model: ModelRef | None
    """The collection's model; None if no point reached the server."""
    errors: Mapping[int, ClipserveError] = field(default_factory=dict)
    """Errors by the point's position."""
    truncated: tuple[int, ...] = ()
    """Positions of points whose text lost its end because it is longer than the model's context."""


@dataclass(frozen=True)
class LabelSetInfo:
    """What is known of a stored label set, without its labels."""

    name: str
    version: int
    label_count: int
    """None of the above not counted."""
    template_count: int
    none_of_the_above: bool
    content_hash: str
    """64 hex digits: the same where labels, templates, thresholds and the rest are."""
    create_time: dt.datetime
    """When this version was put."""
    versions: tuple[int, ...]
    """Versions that are kept, oldest first."""
    warnings: tuple[LabelWarning, ...] = ()
    """What is to be known of the labels; told when they are put, and not kept."""


@dataclass(frozen=True)
class NamedLabelSet:
    """A stored label set."""

    info: LabelSetInfo
    labels: LabelSet
