import datetime

from clipserve.v1 import clip_pb2 as _clip_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LabelSetInfo(_message.Message):
    __slots__ = ("ref", "label_count", "template_count", "none_of_the_above", "content_hash", "create_time", "versions")
    REF_FIELD_NUMBER: _ClassVar[int]
    LABEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    NONE_OF_THE_ABOVE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ref: _clip_pb2.LabelSetRef
    label_count: int
    template_count: int
    none_of_the_above: bool
    content_hash: str
    create_time: _timestamp_pb2.Timestamp
    versions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ref: _Optional[_Union[_clip_pb2.LabelSetRef, _Mapping]] = ..., label_count: _Optional[int] = ..., template_count: _Optional[int] = ..., none_of_the_above: bool = ..., content_hash: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., versions: _Optional[_Iterable[int]] = ...) -> None: ...

class PutLabelSetRequest(_message.Message):
    __slots__ = ("name", "labels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    labels: _clip_pb2.LabelSet
    def __init__(self, name: _Optional[str] = ..., labels: _Optional[_Union[_clip_pb2.LabelSet, _Mapping]] = ...) -> None: ...

class PutLabelSetResponse(_message.Message):
    __slots__ = ("info", "created", "warnings")
    INFO_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    info: LabelSetInfo
    created: bool
    warnings: _containers.RepeatedCompositeFieldContainer[_clip_pb2.LabelWarning]
    def __init__(self, info: _Optional[_Union[LabelSetInfo, _Mapping]] = ..., created: bool = ..., warnings: _Optional[_Iterable[_Union[_clip_pb2.LabelWarning, _Mapping]]] = ...) -> None: ...

class GetLabelSetRequest(_message.Message):
    __slots__ = ("ref",)
    REF_FIELD_NUMBER: _ClassVar[int]
    ref: _clip_pb2.LabelSetRef
    def __init__(self, ref: _Optional[_Union[_clip_pb2.LabelSetRef, _Mapping]] = ...) -> None: ...

class GetLabelSetResponse(_message.Message):
    __slots__ = ("info", "labels")
    INFO_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    info: LabelSetInfo
    labels: _clip_pb2.LabelSet
    def __init__(self, info: _Optional[_Union[LabelSetInfo, _Mapping]] = ..., labels: _Optional[_Union[_clip_pb2.LabelSet, _Mapping]] = ...) -> None: ...

class ListLabelSetsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLabelSetsResponse(_message.Message):
    __slots__ = ("label_sets", "next_page_token")
    LABEL_SETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    label_sets: _containers.RepeatedCompositeFieldContainer[LabelSetInfo]
    next_page_token: str
    def __init__(self, label_sets: _Optional[_Iterable[_Union[LabelSetInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteLabelSetRequest(_message.Message):
    __slots__ = ("ref",)
    REF_FIELD_NUMBER: _ClassVar[int]
    ref: _clip_pb2.LabelSetRef
    def __init__(self, ref: _Optional[_Union[_clip_pb2.LabelSetRef, _Mapping]] = ...) -> None: ...

class DeleteLabelSetResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    def __init__(self, deleted: _Optional[int] = ...) -> None: ...
