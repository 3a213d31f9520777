import datetime

from clipserve.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_COSINE: _ClassVar[Metric]

class IndexState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INDEX_STATE_UNSPECIFIED: _ClassVar[IndexState]
    INDEX_STATE_NONE: _ClassVar[IndexState]
    INDEX_STATE_BUILDING: _ClassVar[IndexState]
    INDEX_STATE_READY: _ClassVar[IndexState]

class MigrationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MIGRATION_STATE_UNSPECIFIED: _ClassVar[MigrationState]
    MIGRATION_STATE_RUNNING: _ClassVar[MigrationState]
    MIGRATION_STATE_READY: _ClassVar[MigrationState]
    MIGRATION_STATE_SWITCHED: _ClassVar[MigrationState]
    MIGRATION_STATE_WAITING: _ClassVar[MigrationState]
METRIC_UNSPECIFIED: Metric
METRIC_COSINE: Metric
INDEX_STATE_UNSPECIFIED: IndexState
INDEX_STATE_NONE: IndexState
INDEX_STATE_BUILDING: IndexState
INDEX_STATE_READY: IndexState
MIGRATION_STATE_UNSPECIFIED: MigrationState
MIGRATION_STATE_RUNNING: MigrationState
MIGRATION_STATE_READY: MigrationState
MIGRATION_STATE_SWITCHED: MigrationState
MIGRATION_STATE_WAITING: MigrationState

class PayloadField(_message.Message):
    __slots__ = ("name", "type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: _common_pb2.PayloadType
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[_common_pb2.PayloadType, str]] = ...) -> None: ...

class Collection(_message.Message):
    __slots__ = ("name", "model", "metric", "schema", "count", "create_time", "aliases", "keep_sources", "index_options", "index_status", "migration", "score_statistics", "image_rules")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    KEEP_SOURCES_FIELD_NUMBER: _ClassVar[int]
    INDEX_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INDEX_STATUS_FIELD_NUMBER: _ClassVar[int]
    MIGRATION_FIELD_NUMBER: _ClassVar[int]
    SCORE_STATISTICS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_RULES_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: _common_pb2.ModelRef
    metric: Metric
    schema: _containers.RepeatedCompositeFieldContainer[PayloadField]
    count: int
    create_time: _timestamp_pb2.Timestamp
    aliases: _containers.RepeatedScalarFieldContainer[str]
    keep_sources: bool
    index_options: IndexOptions
    index_status: IndexStatus
    migration: Migration
    score_statistics: _containers.RepeatedCompositeFieldContainer[ScoreStatistics]
    image_rules: _common_pb2.ImageRules
    def __init__(self, name: _Optional[str] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., metric: _Optional[_Union[Metric, str]] = ..., schema: _Optional[_Iterable[_Union[PayloadField, _Mapping]]] = ..., count: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., aliases: _Optional[_Iterable[str]] = ..., keep_sources: bool = ..., index_options: _Optional[_Union[IndexOptions, _Mapping]] = ..., index_status: _Optional[_Union[IndexStatus, _Mapping]] = ..., migration: _Optional[_Union[Migration, _Mapping]] = ..., score_statistics: _Optional[_Iterable[_Union[ScoreStatistics, _Mapping]]] = ..., image_rules: _Optional[_Union[_common_pb2.ImageRules, _Mapping]] = ...) -> None: ...

class IndexOptions(_message.Message):
    __slots__ = ("exact", "m", "ef_construction", "ef_search")
    EXACT_FIELD_NUMBER: _ClassVar[int]
    M_FIELD_NUMBER: _ClassVar[int]
    EF_CONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    exact: bool
    m: int
    ef_construction: int
    ef_search: int
    def __init__(self, exact: bool = ..., m: _Optional[int] = ..., ef_construction: _Optional[int] = ..., ef_search: _Optional[int] = ...) -> None: ...

class IndexStatus(_message.Message):
    __slots__ = ("state", "indexed")
    STATE_FIELD_NUMBER: _ClassVar[int]
    INDEXED_FIELD_NUMBER: _ClassVar[int]
    state: IndexState
    indexed: int
    def __init__(self, state: _Optional[_Union[IndexState, str]] = ..., indexed: _Optional[int] = ...) -> None: ...

class ScoreStatistics(_message.Message):
    __slots__ = ("query", "pairs", "mean", "stddev", "p50", "p95", "p99", "p999")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STDDEV_FIELD_NUMBER: _ClassVar[int]
    P50_FIELD_NUMBER: _ClassVar[int]
    P95_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    P999_FIELD_NUMBER: _ClassVar[int]
    query: str
    pairs: int
    mean: float
    stddev: float
    p50: float
    p95: float
    p99: float
    p999: float
    def __init__(self, query: _Optional[str] = ..., pairs: _Optional[int] = ..., mean: _Optional[float] = ..., stddev: _Optional[float] = ..., p50: _Optional[float] = ..., p95: _Optional[float] = ..., p99: _Optional[float] = ..., p999: _Optional[float] = ...) -> None: ...

class Migration(_message.Message):
    __slots__ = ("state", "to", "total", "done", "failed", "failures", "overlap", "error", "start_time", "from_image_rules", "to_image_rules")
    STATE_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    FROM_IMAGE_RULES_FIELD_NUMBER: _ClassVar[int]
    TO_IMAGE_RULES_FIELD_NUMBER: _ClassVar[int]
    state: MigrationState
    to: _common_pb2.ModelRef
    total: int
    done: int
    failed: int
    failures: _containers.RepeatedCompositeFieldContainer[FailedPoint]
    overlap: NeighborOverlap
    error: str
    start_time: _timestamp_pb2.Timestamp
    from_image_rules: _common_pb2.ImageRules
    to_image_rules: _common_pb2.ImageRules
    def __init__(self, state: _Optional[_Union[MigrationState, str]] = ..., to: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., total: _Optional[int] = ..., done: _Optional[int] = ..., failed: _Optional[int] = ..., failures: _Optional[_Iterable[_Union[FailedPoint, _Mapping]]] = ..., overlap: _Optional[_Union[NeighborOverlap, _Mapping]] = ..., error: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., from_image_rules: _Optional[_Union[_common_pb2.ImageRules, _Mapping]] = ..., to_image_rules: _Optional[_Union[_common_pb2.ImageRules, _Mapping]] = ..., **kwargs) -> None: ...

class FailedPoint(_message.Message):
    __slots__ = ("id", "message")
    ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: str
    message: str
    def __init__(self, id: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class NeighborOverlap(_message.Message):
    __slots__ = ("k", "queries", "mean", "p10")
    K_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    P10_FIELD_NUMBER: _ClassVar[int]
    k: int
    queries: int
    mean: float
    p10: float
    def __init__(self, k: _Optional[int] = ..., queries: _Optional[int] = ..., mean: _Optional[float] = ..., p10: _Optional[float] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "collection")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ...) -> None: ...

class PointInput(_message.Message):
    __slots__ = ("id", "image", "text", "embedding", "payload", "source_uri", "kept_image", "kept_text", "must_be_new")
    class PayloadEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    KEPT_IMAGE_FIELD_NUMBER: _ClassVar[int]
    KEPT_TEXT_FIELD_NUMBER: _ClassVar[int]
    MUST_BE_NEW_FIELD_NUMBER: _ClassVar[int]
    id: str
    image: _common_pb2.Image
    text: str
    embedding: _common_pb2.Embedding
    payload: _containers.MessageMap[str, _common_pb2.Value]
    source_uri: str
    kept_image: _common_pb2.Image
    kept_text: str
    must_be_new: bool
    def __init__(self, id: _Optional[str] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., text: _Optional[str] = ..., embedding: _Optional[_Union[_common_pb2.Embedding, _Mapping]] = ..., payload: _Optional[_Mapping[str, _common_pb2.Value]] = ..., source_uri: _Optional[str] = ..., kept_image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., kept_text: _Optional[str] = ..., must_be_new: bool = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("id", "payload", "embedding", "image_content", "text", "source_uri")
    class PayloadEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    IMAGE_CONTENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    id: str
    payload: _containers.MessageMap[str, _common_pb2.Value]
    embedding: _common_pb2.Embedding
    image_content: bytes
    text: str
    source_uri: str
    def __init__(self, id: _Optional[str] = ..., payload: _Optional[_Mapping[str, _common_pb2.Value]] = ..., embedding: _Optional[_Union[_common_pb2.Embedding, _Mapping]] = ..., image_content: _Optional[bytes] = ..., text: _Optional[str] = ..., source_uri: _Optional[str] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("name", "model", "metric", "schema", "keep_sources", "index_options", "image_rules")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    KEEP_SOURCES_FIELD_NUMBER: _ClassVar[int]
    INDEX_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_RULES_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    metric: Metric
    schema: _containers.RepeatedCompositeFieldContainer[PayloadField]
    keep_sources: bool
    index_options: IndexOptions
    image_rules: _common_pb2.ImageRules
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., metric: _Optional[_Union[Metric, str]] = ..., schema: _Optional[_Iterable[_Union[PayloadField, _Mapping]]] = ..., keep_sources: bool = ..., index_options: _Optional[_Union[IndexOptions, _Mapping]] = ..., image_rules: _Optional[_Union[_common_pb2.ImageRules, _Mapping]] = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections", "next_page_token")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[Collection]
    next_page_token: str
    def __init__(self, collections: _Optional[_Iterable[_Union[Collection, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PurgeCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class PurgeCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpsertPointsRequest(_message.Message):
    __slots__ = ("collection", "points", "fingerprint")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    points: _containers.RepeatedCompositeFieldContainer[PointInput]
    fingerprint: str
    def __init__(self, collection: _Optional[str] = ..., points: _Optional[_Iterable[_Union[PointInput, _Mapping]]] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class UpsertPointsResponse(_message.Message):
    __slots__ = ("statuses", "model", "truncated")
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[_common_pb2.ItemStatus]
    model: _common_pb2.ModelRef
    truncated: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, statuses: _Optional[_Iterable[_Union[_common_pb2.ItemStatus, _Mapping]]] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., truncated: _Optional[_Iterable[int]] = ...) -> None: ...

class UpsertPointsStreamRequest(_message.Message):
    __slots__ = ("batch_id", "request")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    batch_id: int
    request: UpsertPointsRequest
    def __init__(self, batch_id: _Optional[int] = ..., request: _Optional[_Union[UpsertPointsRequest, _Mapping]] = ...) -> None: ...

class UpsertPointsStreamResponse(_message.Message):
    __slots__ = ("batch_id", "status", "response")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    batch_id: int
    status: _common_pb2.ItemStatus
    response: UpsertPointsResponse
    def __init__(self, batch_id: _Optional[int] = ..., status: _Optional[_Union[_common_pb2.ItemStatus, _Mapping]] = ..., response: _Optional[_Union[UpsertPointsResponse, _Mapping]] = ...) -> None: ...

class DeletePointsRequest(_message.Message):
    __slots__ = ("collection", "ids", "filter")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    filter: _common_pb2.Filter
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ...) -> None: ...

class DeletePointsResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    def __init__(self, deleted: _Optional[int] = ...) -> None: ...

class GetPointsRequest(_message.Message):
    __slots__ = ("collection", "ids", "with_embeddings", "with_sources")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    WITH_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    WITH_SOURCES_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    with_embeddings: bool
    with_sources: bool
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., with_embeddings: bool = ..., with_sources: bool = ...) -> None: ...

class GetPointsResponse(_message.Message):
    __slots__ = ("points", "model")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[Point]
    model: _common_pb2.ModelRef
    def __init__(self, points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class ScrollPointsRequest(_message.Message):
    __slots__ = ("collection", "filter", "page_size", "page_token", "with_embeddings", "with_sources")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WITH_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    WITH_SOURCES_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _common_pb2.Filter
    page_size: int
    page_token: str
    with_embeddings: bool
    with_sources: bool
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., with_embeddings: bool = ..., with_sources: bool = ...) -> None: ...

class ScrollPointsResponse(_message.Message):
    __slots__ = ("points", "next_page_token", "model")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[Point]
    next_page_token: str
    model: _common_pb2.ModelRef
    def __init__(self, points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class CountPointsRequest(_message.Message):
    __slots__ = ("collection", "filter")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _common_pb2.Filter
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ...) -> None: ...

class CountPointsResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class GetThumbnailRequest(_message.Message):
    __slots__ = ("collection", "id", "max_side")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    MAX_SIDE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    id: str
    max_side: int
    def __init__(self, collection: _Optional[str] = ..., id: _Optional[str] = ..., max_side: _Optional[int] = ...) -> None: ...

class GetThumbnailResponse(_message.Message):
    __slots__ = ("jpeg", "width", "height")
    JPEG_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    jpeg: bytes
    width: int
    height: int
    def __init__(self, jpeg: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class PutAliasRequest(_message.Message):
    __slots__ = ("alias",)
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    alias: Alias
    def __init__(self, alias: _Optional[_Union[Alias, _Mapping]] = ...) -> None: ...

class PutAliasResponse(_message.Message):
    __slots__ = ("previous_collection",)
    PREVIOUS_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    previous_collection: str
    def __init__(self, previous_collection: _Optional[str] = ...) -> None: ...

class DeleteAliasRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteAliasResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListAliasesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAliasesResponse(_message.Message):
    __slots__ = ("aliases", "next_page_token")
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    next_page_token: str
    def __init__(self, aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StartMigrationRequest(_message.Message):
    __slots__ = ("collection", "to_model")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TO_MODEL_FIELD_NUMBER: _ClassVar[int]
    collection: str
    to_model: str
    def __init__(self, collection: _Optional[str] = ..., to_model: _Optional[str] = ...) -> None: ...

class StartMigrationResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class SwitchMigrationRequest(_message.Message):
    __slots__ = ("collection", "without_failed", "accept_dropped")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_FAILED_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_DROPPED_FIELD_NUMBER: _ClassVar[int]
    collection: str
    without_failed: bool
    accept_dropped: int
    def __init__(self, collection: _Optional[str] = ..., without_failed: bool = ..., accept_dropped: _Optional[int] = ...) -> None: ...

class SwitchMigrationResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class RollBackMigrationRequest(_message.Message):
    __slots__ = ("collection", "accept_dropped")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_DROPPED_FIELD_NUMBER: _ClassVar[int]
    collection: str
    accept_dropped: int
    def __init__(self, collection: _Optional[str] = ..., accept_dropped: _Optional[int] = ...) -> None: ...

class RollBackMigrationResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class EndMigrationRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class EndMigrationResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...
