import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EmbeddingFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMBEDDING_FORMAT_UNSPECIFIED: _ClassVar[EmbeddingFormat]
    EMBEDDING_FORMAT_FLOAT32_LE: _ClassVar[EmbeddingFormat]
    EMBEDDING_FORMAT_FLOAT16_LE: _ClassVar[EmbeddingFormat]
    EMBEDDING_FORMAT_FLOAT_LIST: _ClassVar[EmbeddingFormat]
    EMBEDDING_FORMAT_INT8: _ClassVar[EmbeddingFormat]
    EMBEDDING_FORMAT_UINT8: _ClassVar[EmbeddingFormat]
    EMBEDDING_FORMAT_BINARY: _ClassVar[EmbeddingFormat]
    EMBEDDING_FORMAT_UBINARY: _ClassVar[EmbeddingFormat]

class PayloadType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYLOAD_TYPE_UNSPECIFIED: _ClassVar[PayloadType]
    PAYLOAD_TYPE_STRING: _ClassVar[PayloadType]
    PAYLOAD_TYPE_INT: _ClassVar[PayloadType]
    PAYLOAD_TYPE_DOUBLE: _ClassVar[PayloadType]
    PAYLOAD_TYPE_BOOL: _ClassVar[PayloadType]
    PAYLOAD_TYPE_TIMESTAMP: _ClassVar[PayloadType]
    PAYLOAD_TYPE_STRING_LIST: _ClassVar[PayloadType]
EMBEDDING_FORMAT_UNSPECIFIED: EmbeddingFormat
EMBEDDING_FORMAT_FLOAT32_LE: EmbeddingFormat
EMBEDDING_FORMAT_FLOAT16_LE: EmbeddingFormat
EMBEDDING_FORMAT_FLOAT_LIST: EmbeddingFormat
EMBEDDING_FORMAT_INT8: EmbeddingFormat
EMBEDDING_FORMAT_UINT8: EmbeddingFormat
EMBEDDING_FORMAT_BINARY: EmbeddingFormat
EMBEDDING_FORMAT_UBINARY: EmbeddingFormat
PAYLOAD_TYPE_UNSPECIFIED: PayloadType
PAYLOAD_TYPE_STRING: PayloadType
PAYLOAD_TYPE_INT: PayloadType
PAYLOAD_TYPE_DOUBLE: PayloadType
PAYLOAD_TYPE_BOOL: PayloadType
PAYLOAD_TYPE_TIMESTAMP: PayloadType
PAYLOAD_TYPE_STRING_LIST: PayloadType

class Image(_message.Message):
    __slots__ = ("content", "raw", "exact_pixels")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    EXACT_PIXELS_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    raw: RawImage
    exact_pixels: bool
    def __init__(self, content: _Optional[bytes] = ..., raw: _Optional[_Union[RawImage, _Mapping]] = ..., exact_pixels: bool = ...) -> None: ...

class RawImage(_message.Message):
    __slots__ = ("rgb", "width", "height", "orientation")
    RGB_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    ORIENTATION_FIELD_NUMBER: _ClassVar[int]
    rgb: bytes
    width: int
    height: int
    orientation: int
    def __init__(self, rgb: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., orientation: _Optional[int] = ...) -> None: ...

class ImageRules(_message.Message):
    __slots__ = ("apply_orientation", "alpha_background")
    APPLY_ORIENTATION_FIELD_NUMBER: _ClassVar[int]
    ALPHA_BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    apply_orientation: bool
    alpha_background: str
    def __init__(self, apply_orientation: bool = ..., alpha_background: _Optional[str] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("float32_le", "float16_le", "values", "int8", "uint8", "binary", "ubinary")
    FLOAT32_LE_FIELD_NUMBER: _ClassVar[int]
    FLOAT16_LE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    INT8_FIELD_NUMBER: _ClassVar[int]
    UINT8_FIELD_NUMBER: _ClassVar[int]
    BINARY_FIELD_NUMBER: _ClassVar[int]
    UBINARY_FIELD_NUMBER: _ClassVar[int]
    float32_le: bytes
    float16_le: bytes
    values: FloatList
    int8: bytes
    uint8: bytes
    binary: bytes
    ubinary: bytes
    def __init__(self, float32_le: _Optional[bytes] = ..., float16_le: _Optional[bytes] = ..., values: _Optional[_Union[FloatList, _Mapping]] = ..., int8: _Optional[bytes] = ..., uint8: _Optional[bytes] = ..., binary: _Optional[bytes] = ..., ubinary: _Optional[bytes] = ...) -> None: ...

class FloatList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class ItemStatus(_message.Message):
    __slots__ = ("code", "reason", "field", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    field: str
    message: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., field: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ModelRef(_message.Message):
    __slots__ = ("name", "fingerprint", "embed_dim")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    EMBED_DIM_FIELD_NUMBER: _ClassVar[int]
    name: str
    fingerprint: str
    embed_dim: int
    def __init__(self, name: _Optional[str] = ..., fingerprint: _Optional[str] = ..., embed_dim: _Optional[int] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("string_value", "int_value", "double_value", "bool_value", "timestamp_value", "string_list")
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_LIST_FIELD_NUMBER: _ClassVar[int]
    string_value: str
    int_value: int
    double_value: float
    bool_value: bool
    timestamp_value: _timestamp_pb2.Timestamp
    string_list: StringList
    def __init__(self, string_value: _Optional[str] = ..., int_value: _Optional[int] = ..., double_value: _Optional[float] = ..., bool_value: bool = ..., timestamp_value: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., string_list: _Optional[_Union[StringList, _Mapping]] = ...) -> None: ...

class StringList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("eq", "in_list", "range", "all_of", "any_of", "negation")
    EQ_FIELD_NUMBER: _ClassVar[int]
    IN_LIST_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    ALL_OF_FIELD_NUMBER: _ClassVar[int]
    ANY_OF_FIELD_NUMBER: _ClassVar[int]
    NEGATION_FIELD_NUMBER: _ClassVar[int]
    eq: EqFilter
    in_list: InFilter
    range: RangeFilter
    all_of: FilterList
    any_of: FilterList
    negation: Filter
    def __init__(self, eq: _Optional[_Union[EqFilter, _Mapping]] = ..., in_list: _Optional[_Union[InFilter, _Mapping]] = ..., range: _Optional[_Union[RangeFilter, _Mapping]] = ..., all_of: _Optional[_Union[FilterList, _Mapping]] = ..., any_of: _Optional[_Union[FilterList, _Mapping]] = ..., negation: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class EqFilter(_message.Message):
    __slots__ = ("field", "value")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    field: str
    value: Value
    def __init__(self, field: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class InFilter(_message.Message):
    __slots__ = ("field", "values")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    field: str
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, field: _Optional[str] = ..., values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class RangeFilter(_message.Message):
    __slots__ = ("field", "gt", "gte", "lt", "lte")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    GT_FIELD_NUMBER: _ClassVar[int]
    GTE_FIELD_NUMBER: _ClassVar[int]
    LT_FIELD_NUMBER: _ClassVar[int]
    LTE_FIELD_NUMBER: _ClassVar[int]
    field: str
    gt: Value
    gte: Value
    lt: Value
    lte: Value
    def __init__(self, field: _Optional[str] = ..., gt: _Optional[_Union[Value, _Mapping]] = ..., gte: _Optional[_Union[Value, _Mapping]] = ..., lt: _Optional[_Union[Value, _Mapping]] = ..., lte: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class FilterList(_message.Message):
    __slots__ = ("filters",)
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedCompositeFieldContainer[Filter]
    def __init__(self, filters: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ...) -> None: ...
