"""TypeScript types of the API's messages in JSON, for the modules of the page.

`make protos` writes them: python -m testing.typescript
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clipserve.v1 import clip_pb2, collection_pb2, common_pb2, labels_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

TYPES = Path(__file__).parents[1] / "gateway/clipserve_gateway/data/web/types.d.ts"
FILES = tuple(module.DESCRIPTOR for module in (common_pb2, clip_pb2, collection_pb2, labels_pb2))
HEAD = """\
// The API's messages in JSON, made from protos/ by `make protos`. Fields with default values may be absent.

/** A 64-bit integer: a string in answers; requests may have numbers. */
export type Int64 = string | number;
/** Bytes in base64. */
export type Bytes = string;
/** A point in time, e.g. `2024-05-01T12:00:00Z`. */
export type Timestamp = string;
"""
SCALARS = {
    FieldDescriptor.TYPE_BOOL: "boolean",
    FieldDescriptor.TYPE_BYTES: "Bytes",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_INT64: "Int64",
    FieldDescriptor.TYPE_UINT64: "Int64",
    FieldDescriptor.TYPE_DOUBLE: "number",
    FieldDescriptor.TYPE_FLOAT: "number",
    FieldDescriptor.TYPE_INT32: "number",
    FieldDescriptor.TYPE_UINT32: "number",
}


def types_of(files: tuple[FileDescriptor, ...]) -> str:
    """The text of the module."""
    return "\n".join([HEAD, *(block for file in files for block in blocks(file)), methods(files)])


def blocks(file: FileDescriptor) -> Iterator[str]:
    """The declarations of one file, in the order of the proto."""
    yield from map(enum, file.enum_types_by_name.values())
    yield from map(interface, file.message_types_by_name.values())


def enum(kind: EnumDescriptor) -> str:
    """An enum as a union of its names."""
    return f"export type {kind.name} =\n" + "\n".join(f'  | "{value.name}"' for value in kind.values) + ";\n"


def interface(message: Descriptor) -> str:
    """A message as an interface."""
    fields = "".join(f"  {field.json_name}?: {type_of(field)};\n" for field in message.fields)
    return f"export interface {message.name} {{\n{fields}}}\n"


def type_of(field: FieldDescriptor) -> str:
    """The type of a field."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return f"Record<string, {single(entry.fields_by_name['value'])}>"
    return single(field) + ("[]" if field.is_repeated else "")


def single(field: FieldDescriptor) -> str:
    """The type of one value of a field. Raises KeyError for a type that no message has yet."""
    if field.message_type is not None:
        return str(field.message_type.name)
    return str(field.enum_type.name) if field.enum_type is not None else SCALARS[field.type]


def methods(files: tuple[FileDescriptor, ...]) -> str:
    """Request and response of every unary method, by `Service/Method`."""
    lines = [
        f'  "{service.name}/{rpc.name}": [{rpc.input_type.name}, {rpc.output_type.name}];\n'
        for file in files
        for service in file.services_by_name.values()
        for rpc in service.methods
        if not rpc.client_streaming
    ]
    return "export interface Methods {\n" + "".join(lines) + "}\n"


if __name__ == "__main__":
    TYPES.write_text(types_of(FILES))
