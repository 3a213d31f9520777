from clipserve.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ScoreMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCORE_MODE_UNSPECIFIED: _ClassVar[ScoreMode]
    SCORE_MODE_SOFTMAX: _ClassVar[ScoreMode]
    SCORE_MODE_INDEPENDENT: _ClassVar[ScoreMode]

class LabelWarningReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_WARNING_REASON_UNSPECIFIED: _ClassVar[LabelWarningReason]
    LABEL_WARNING_REASON_SAME: _ClassVar[LabelWarningReason]
    LABEL_WARNING_REASON_CUT: _ClassVar[LabelWarningReason]

class Consistency(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONSISTENCY_UNSPECIFIED: _ClassVar[Consistency]
    CONSISTENCY_BOUNDED: _ClassVar[Consistency]
    CONSISTENCY_STRONG: _ClassVar[Consistency]
SCORE_MODE_UNSPECIFIED: ScoreMode
SCORE_MODE_SOFTMAX: ScoreMode
SCORE_MODE_INDEPENDENT: ScoreMode
LABEL_WARNING_REASON_UNSPECIFIED: LabelWarningReason
LABEL_WARNING_REASON_SAME: LabelWarningReason
LABEL_WARNING_REASON_CUT: LabelWarningReason
CONSISTENCY_UNSPECIFIED: Consistency
CONSISTENCY_BOUNDED: Consistency
CONSISTENCY_STRONG: Consistency

class LabelSet(_message.Message):
    __slots__ = ("names", "templates", "thresholds", "none_of_the_above")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    NONE_OF_THE_ABOVE_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    templates: _containers.RepeatedScalarFieldContainer[str]
    thresholds: _containers.RepeatedScalarFieldContainer[float]
    none_of_the_above: NoneOfTheAbove
    def __init__(self, names: _Optional[_Iterable[str]] = ..., templates: _Optional[_Iterable[str]] = ..., thresholds: _Optional[_Iterable[float]] = ..., none_of_the_above: _Optional[_Union[NoneOfTheAbove, _Mapping]] = ...) -> None: ...

class NoneOfTheAbove(_message.Message):
    __slots__ = ("name", "prompts", "threshold")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    name: str
    prompts: _containers.RepeatedScalarFieldContainer[str]
    threshold: float
    def __init__(self, name: _Optional[str] = ..., prompts: _Optional[_Iterable[str]] = ..., threshold: _Optional[float] = ...) -> None: ...

class LabelSetRef(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("model", "images", "labels", "top_k", "score_mode", "label_set")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SCORE_MODE_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    labels: LabelSet
    top_k: int
    score_mode: ScoreMode
    label_set: LabelSetRef
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ..., labels: _Optional[_Union[LabelSet, _Mapping]] = ..., top_k: _Optional[int] = ..., score_mode: _Optional[_Union[ScoreMode, str]] = ..., label_set: _Optional[_Union[LabelSetRef, _Mapping]] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("results", "model", "score_mode", "logit_scale", "truncated_prompts", "label_set", "warnings", "logit_bias")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_MODE_FIELD_NUMBER: _ClassVar[int]
    LOGIT_SCALE_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    LOGIT_BIAS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ClassifyResult]
    model: _common_pb2.ModelRef
    score_mode: ScoreMode
    logit_scale: float
    truncated_prompts: int
    label_set: LabelSetRef
    warnings: _containers.RepeatedCompositeFieldContainer[LabelWarning]
    logit_bias: float
    def __init__(self, results: _Optional[_Iterable[_Union[ClassifyResult, _Mapping]]] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., score_mode: _Optional[_Union[ScoreMode, str]] = ..., logit_scale: _Optional[float] = ..., truncated_prompts: _Optional[int] = ..., label_set: _Optional[_Union[LabelSetRef, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[LabelWarning, _Mapping]]] = ..., logit_bias: _Optional[float] = ...) -> None: ...

class LabelWarning(_message.Message):
    __slots__ = ("reason", "labels", "count", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: LabelWarningReason
    labels: _containers.RepeatedScalarFieldContainer[int]
    count: int
    message: str
    def __init__(self, reason: _Optional[_Union[LabelWarningReason, str]] = ..., labels: _Optional[_Iterable[int]] = ..., count: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class PrepareLabelsRequest(_message.Message):
    __slots__ = ("model", "labels", "label_set", "max_milliseconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    MAX_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    labels: LabelSet
    label_set: LabelSetRef
    max_milliseconds: int
    def __init__(self, model: _Optional[str] = ..., labels: _Optional[_Union[LabelSet, _Mapping]] = ..., label_set: _Optional[_Union[LabelSetRef, _Mapping]] = ..., max_milliseconds: _Optional[int] = ...) -> None: ...

class PrepareLabelsResponse(_message.Message):
    __slots__ = ("model", "label_set", "total", "done", "encoded")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    label_set: LabelSetRef
    total: int
    done: int
    encoded: int
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., label_set: _Optional[_Union[LabelSetRef, _Mapping]] = ..., total: _Optional[int] = ..., done: _Optional[int] = ..., encoded: _Optional[int] = ...) -> None: ...

class ClassifyResult(_message.Message):
    __slots__ = ("status", "scores")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.ItemStatus
    scores: _containers.RepeatedCompositeFieldContainer[LabelScore]
    def __init__(self, status: _Optional[_Union[_common_pb2.ItemStatus, _Mapping]] = ..., scores: _Optional[_Iterable[_Union[LabelScore, _Mapping]]] = ...) -> None: ...

class LabelScore(_message.Message):
    __slots__ = ("label", "index", "probability", "cosine", "above_threshold")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    ABOVE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    label: str
    index: int
    probability: float
    cosine: float
    above_threshold: bool
    def __init__(self, label: _Optional[str] = ..., index: _Optional[int] = ..., probability: _Optional[float] = ..., cosine: _Optional[float] = ..., above_threshold: bool = ...) -> None: ...

class EmbedInput(_message.Message):
    __slots__ = ("image", "text")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    image: _common_pb2.Image
    text: str
    def __init__(self, image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("model", "inputs", "raw", "format", "dimensions", "allow_truncation")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedCompositeFieldContainer[EmbedInput]
    raw: bool
    format: _common_pb2.EmbeddingFormat
    dimensions: int
    allow_truncation: bool
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[EmbedInput, _Mapping]]] = ..., raw: bool = ..., format: _Optional[_Union[_common_pb2.EmbeddingFormat, str]] = ..., dimensions: _Optional[int] = ..., allow_truncation: bool = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("results", "model", "normalized", "dimensions")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[EmbedResult]
    model: _common_pb2.ModelRef
    normalized: bool
    dimensions: int
    def __init__(self, results: _Optional[_Iterable[_Union[EmbedResult, _Mapping]]] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., normalized: bool = ..., dimensions: _Optional[int] = ...) -> None: ...

class EmbedResult(_message.Message):
    __slots__ = ("status", "embedding", "truncated", "tokens")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.ItemStatus
    embedding: _common_pb2.Embedding
    truncated: bool
    tokens: int
    def __init__(self, status: _Optional[_Union[_common_pb2.ItemStatus, _Mapping]] = ..., embedding: _Optional[_Union[_common_pb2.Embedding, _Mapping]] = ..., truncated: bool = ..., tokens: _Optional[int] = ...) -> None: ...

class EmbedStreamRequest(_message.Message):
    __slots__ = ("batch_id", "request")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    batch_id: int
    request: EmbedRequest
    def __init__(self, batch_id: _Optional[int] = ..., request: _Optional[_Union[EmbedRequest, _Mapping]] = ...) -> None: ...

class EmbedStreamResponse(_message.Message):
    __slots__ = ("batch_id", "status", "response")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    batch_id: int
    status: _common_pb2.ItemStatus
    response: EmbedResponse
    def __init__(self, batch_id: _Optional[int] = ..., status: _Optional[_Union[_common_pb2.ItemStatus, _Mapping]] = ..., response: _Optional[_Union[EmbedResponse, _Mapping]] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("collection", "text", "image", "embedding", "like", "weighted", "top_k", "score_threshold", "filter", "omit_payload", "fingerprint", "consistency", "payload_fields", "group_duplicates", "duplicate_threshold")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    LIKE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    OMIT_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELDS_FIELD_NUMBER: _ClassVar[int]
    GROUP_DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    collection: str
    text: str
    image: _common_pb2.Image
    embedding: _common_pb2.Embedding
    like: str
    weighted: WeightedQuery
    top_k: int
    score_threshold: float
    filter: _common_pb2.Filter
    omit_payload: bool
    fingerprint: str
    consistency: Consistency
    payload_fields: _containers.RepeatedScalarFieldContainer[str]
    group_duplicates: bool
    duplicate_threshold: float
    def __init__(self, collection: _Optional[str] = ..., text: _Optional[str] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., embedding: _Optional[_Union[_common_pb2.Embedding, _Mapping]] = ..., like: _Optional[str] = ..., weighted: _Optional[_Union[WeightedQuery, _Mapping]] = ..., top_k: _Optional[int] = ..., score_threshold: _Optional[float] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., omit_payload: bool = ..., fingerprint: _Optional[str] = ..., consistency: _Optional[_Union[Consistency, str]] = ..., payload_fields: _Optional[_Iterable[str]] = ..., group_duplicates: bool = ..., duplicate_threshold: _Optional[float] = ...) -> None: ...

class WeightedQuery(_message.Message):
    __slots__ = ("parts",)
    PARTS_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[WeightedPart]
    def __init__(self, parts: _Optional[_Iterable[_Union[WeightedPart, _Mapping]]] = ...) -> None: ...

class WeightedPart(_message.Message):
    __slots__ = ("weight", "text", "image", "embedding", "like")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    LIKE_FIELD_NUMBER: _ClassVar[int]
    weight: float
    text: str
    image: _common_pb2.Image
    embedding: _common_pb2.Embedding
    like: str
    def __init__(self, weight: _Optional[float] = ..., text: _Optional[str] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., embedding: _Optional[_Union[_common_pb2.Embedding, _Mapping]] = ..., like: _Optional[str] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "model", "truncated", "incomplete", "weak_match")
    HITS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    WEAK_MATCH_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[SearchHit]
    model: _common_pb2.ModelRef
    truncated: bool
    incomplete: bool
    weak_match: bool
    def __init__(self, hits: _Optional[_Iterable[_Union[SearchHit, _Mapping]]] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., truncated: bool = ..., incomplete: bool = ..., weak_match: bool = ...) -> None: ...

class SearchHit(_message.Message):
    __slots__ = ("id", "score", "payload", "percentile", "duplicates")
    class PayloadEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PERCENTILE_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    id: str
    score: float
    payload: _containers.MessageMap[str, _common_pb2.Value]
    percentile: float
    duplicates: _containers.RepeatedCompositeFieldContainer[SearchHit]
    def __init__(self, id: _Optional[str] = ..., score: _Optional[float] = ..., payload: _Optional[_Mapping[str, _common_pb2.Value]] = ..., percentile: _Optional[float] = ..., duplicates: _Optional[_Iterable[_Union[SearchHit, _Mapping]]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "models", "default_model", "limits", "engine", "keeps_sources", "restores_sources", "inserts_new_points", "image_rules")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_MODEL_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    KEEPS_SOURCES_FIELD_NUMBER: _ClassVar[int]
    RESTORES_SOURCES_FIELD_NUMBER: _ClassVar[int]
    INSERTS_NEW_POINTS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_RULES_FIELD_NUMBER: _ClassVar[int]
    version: str
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    default_model: str
    limits: Limits
    engine: str
    keeps_sources: bool
    restores_sources: bool
    inserts_new_points: bool
    image_rules: _common_pb2.ImageRules
    def __init__(self, version: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ..., default_model: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., engine: _Optional[str] = ..., keeps_sources: bool = ..., restores_sources: bool = ..., inserts_new_points: bool = ..., image_rules: _Optional[_Union[_common_pb2.ImageRules, _Mapping]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("ref", "ready", "architecture", "pretrained", "image_size", "context_length", "logit_scale", "logit_bias", "precision", "device", "tokenizer", "tokenizer_sha256", "text_clean", "vocab_size", "image_height", "image_width", "resize", "interpolation", "license", "matryoshka_dims")
    REF_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PRETRAINED_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    LOGIT_SCALE_FIELD_NUMBER: _ClassVar[int]
    LOGIT_BIAS_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_SHA256_FIELD_NUMBER: _ClassVar[int]
    TEXT_CLEAN_FIELD_NUMBER: _ClassVar[int]
    VOCAB_SIZE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    INTERPOLATION_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    MATRYOSHKA_DIMS_FIELD_NUMBER: _ClassVar[int]
    ref: _common_pb2.ModelRef
    ready: bool
    architecture: str
    pretrained: str
    image_size: int
    context_length: int
    logit_scale: float
    logit_bias: float
    precision: str
    device: str
    tokenizer: str
    tokenizer_sha256: str
    text_clean: str
    vocab_size: int
    image_height: int
    image_width: int
    resize: str
    interpolation: str
    license: str
    matryoshka_dims: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ref: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., ready: bool = ..., architecture: _Optional[str] = ..., pretrained: _Optional[str] = ..., image_size: _Optional[int] = ..., context_length: _Optional[int] = ..., logit_scale: _Optional[float] = ..., logit_bias: _Optional[float] = ..., precision: _Optional[str] = ..., device: _Optional[str] = ..., tokenizer: _Optional[str] = ..., tokenizer_sha256: _Optional[str] = ..., text_clean: _Optional[str] = ..., vocab_size: _Optional[int] = ..., image_height: _Optional[int] = ..., image_width: _Optional[int] = ..., resize: _Optional[str] = ..., interpolation: _Optional[str] = ..., license: _Optional[str] = ..., matryoshka_dims: _Optional[_Iterable[int]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_message_bytes", "max_items_per_call", "max_image_bytes", "max_image_pixels", "max_labels", "max_prompts", "max_top_k", "max_text_bytes", "stream_window", "max_payload_bytes", "max_page_size", "max_label_bytes", "max_filter_bytes", "max_held_bytes", "max_calls_per_caller", "max_streams_per_caller", "max_json_bytes")
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_ITEMS_PER_CALL_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MAX_LABELS_FIELD_NUMBER: _ClassVar[int]
    MAX_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOP_K_FIELD_NUMBER: _ClassVar[int]
    MAX_TEXT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAM_WINDOW_FIELD_NUMBER: _ClassVar[int]
    MAX_PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_LABEL_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_FILTER_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_HELD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CALLS_PER_CALLER_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAMS_PER_CALLER_FIELD_NUMBER: _ClassVar[int]
    MAX_JSON_BYTES_FIELD_NUMBER: _ClassVar[int]
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
    max_json_bytes: int
    def __init__(self, max_message_bytes: _Optional[int] = ..., max_items_per_call: _Optional[int] = ..., max_image_bytes: _Optional[int] = ..., max_image_pixels: _Optional[int] = ..., max_labels: _Optional[int] = ..., max_prompts: _Optional[int] = ..., max_top_k: _Optional[int] = ..., max_text_bytes: _Optional[int] = ..., stream_window: _Optional[int] = ..., max_payload_bytes: _Optional[int] = ..., max_page_size: _Optional[int] = ..., max_label_bytes: _Optional[int] = ..., max_filter_bytes: _Optional[int] = ..., max_held_bytes: _Optional[int] = ..., max_calls_per_caller: _Optional[int] = ..., max_streams_per_caller: _Optional[int] = ..., max_json_bytes: _Optional[int] = ...) -> None: ...
