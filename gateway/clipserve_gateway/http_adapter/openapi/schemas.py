"""JSON Schemas of protobuf messages in their JSON form.

Names of fields are in lowerCamelCase. The server also accepts the names of the protos, null for a field that
is not set, and the number of an enum value; the schemas leave these out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor

from clipserve_gateway.http_adapter.openapi.comments import comment

Schema: TypeAlias = dict[str, Any]

REFERENCE = "#/components/schemas/"
EXACTLY_ONE = "Exactly one must be set."
"""The comment of a oneof begins with this sentence if a message without the oneof is invalid."""

SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"},
}
"""By type of the field. JavaScript's numbers cannot hold 64-bit integers, so these are texts in answers."""
LONG = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64)

WELL_KNOWN: dict[str, Schema] = {"google.protobuf.Timestamp": {"type": "string", "format": "date-time"}}
"""Messages with a JSON form of their own."""


def schemas(requests: Iterable[Descriptor], answers: Iterable[Descriptor]) -> dict[str, Schema]:
    """The schemas of these messages and of all that they contain, by name, sorted.

    A message that only requests contain allows no other fields, because the server refuses unknown fields;
    answers may get more fields in later releases. Requests may have
    numbers as 64-bit integers. A message that only answers contain has all fields that
    cannot be absent, because the server writes them also with their default.
    """
    sent, returned = reachable(requests), reachable(answers)
    found: dict[str, Schema] = {}
    for kind in sent | returned:
        if isinstance(kind, EnumDescriptor):
            found[kind.name] = enum_schema(kind)
            continue
        schema = found[kind.name] = message_schema(kind)
        for field in kind.fields if kind in sent else ():
            if field.type in LONG and not field.is_repeated:
                schema["properties"][field.json_name]["type"] = ["string", "integer"]
        if kind not in returned:
            schema["additionalProperties"] = False
        always = [field.json_name for field in kind.fields if not field.has_presence]
        if kind not in sent and always:
            schema["required"] = always
    return dict(sorted(found.items()))


def reachable(messages: Iterable[Descriptor]) -> set[Descriptor | EnumDescriptor]:
    """The messages, and the messages and enums of their fields, that have a schema of their own."""
    found: set[Descriptor | EnumDescriptor] = set()
    waiting: list[Descriptor | EnumDescriptor] = list(messages)
    while waiting:
        kind = waiting.pop()
        if kind not in found:
            found.add(kind)
            waiting += parts(kind) if isinstance(kind, Descriptor) else ()
    return found


def parts(message: Descriptor) -> Iterator[Descriptor | EnumDescriptor]:
    """The types of a message's fields that have a schema of their own."""
    for field in message.fields:
        value = value_of_map(field) or field
        if value.enum_type is not None:
            yield value.enum_type
        elif value.message_type is not None and value.message_type.full_name not in WELL_KNOWN:
            yield value.message_type


def message_schema(message: Descriptor) -> Schema:
    """The schema of one message; those of its parts are references."""
    schema: Schema = {"type": "object"}
    if text := comment(message.full_name):
        schema["description"] = text
    if message.fields:
        schema["properties"] = {field.json_name: field_schema(field) for field in message.fields}
    rules = [choice(oneof) for oneof in message.oneofs if not is_optional(oneof)]
    return schema | (rules[0] if len(rules) == 1 else {"allOf": rules} if rules else {})


def enum_schema(enum: EnumDescriptor) -> Schema:
    """The schema of an enum, with the meaning of each value in its description."""
    names = [value.name for value in enum.values]
    meanings = [f"- `{name}`: {comment(f'{enum.full_name}.{name}')}" for name in names]
    text = "\n".join([comment(enum.full_name), "", *meanings])
    return {"type": "string", "description": text, "enum": names}


def field_schema(field: FieldDescriptor) -> Schema:
    """The schema of a field with its description."""
    text = comment(field.full_name)
    if value := value_of_map(field):
        schema: Schema = {"type": "object", "additionalProperties": value_schema(value)}
    elif field.is_repeated:
        schema = {"type": "array", "items": value_schema(field)}
    else:
        schema = value_schema(field)
    return schema | ({"description": text} if text else {})


def value_schema(field: FieldDescriptor) -> Schema:
    """The schema of one value of a field."""
    if field.enum_type is not None:
        return {"$ref": REFERENCE + field.enum_type.name}
    if field.message_type is None:
        return dict(SCALARS[field.type])
    known = WELL_KNOWN.get(field.message_type.full_name)
    return dict(known) if known else {"$ref": REFERENCE + field.message_type.name}


def value_of_map(field: FieldDescriptor) -> FieldDescriptor | None:
    """The field of the values if the field is a map."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["value"]


def is_optional(oneof: OneofDescriptor) -> bool:
    """Whether this is the oneof that the compiler makes for a field with the word `optional`."""
    return len(oneof.fields) == 1 and oneof.name == f"_{oneof.fields[0].name}"


def choice(oneof: OneofDescriptor) -> Schema:
    """The rule that exactly one of the fields is set, or at most one."""
    names = [field.json_name for field in oneof.fields]
    options: list[Schema] = [{"title": name, "required": [name]} for name in names]
    if not comment(f"{oneof.containing_type.full_name}.{oneof.name}").startswith(EXACTLY_ONE):
        options.append({"title": "none", "not": {"anyOf": [{"required": [name]} for name in names]}})
    return {"oneOf": options}
