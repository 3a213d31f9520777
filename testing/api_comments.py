"""Writes data/api_comments.json: the comments of the protos, which the generated stubs do not contain.

python -m testing.api_comments
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "gateway" / "clipserve_gateway" / "data" / "api_comments.json"

FILE_PARTS = {4: "message_type", 5: "enum_type", 6: "service"}
PARTS = {
    "message_type": {2: "field", 3: "nested_type", 4: "enum_type", 8: "oneof_decl"},
    "nested_type": {2: "field", 3: "nested_type", 4: "enum_type", 8: "oneof_decl"},
    "enum_type": {2: "value"},
    "service": {2: "method"},
}
"""Numbers in the path of a comment (descriptor.proto), and the lists that they select."""


def compiled(folder: Path) -> descriptor_pb2.FileDescriptorSet:
    """The descriptors of the protos with their comments."""
    protos = sorted((ROOT / "protos" / "clipserve" / "v1").glob("*.proto"))
    output = folder / "descriptors.binpb"
    words = [f"-I{ROOT / 'protos'}", "--include_source_info", f"--descriptor_set_out={output}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *words, *map(str, protos)], check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())


def name_of(file: descriptor_pb2.FileDescriptorProto, path: Sequence[int]) -> str:
    """Full name of the element at a path, as in the descriptors of Python; empty for other elements."""
    element, parts, names = file, FILE_PARTS, [file.package]
    for number, index in zip(path[::2], path[1::2], strict=False):
        if number not in parts:
            return ""
        kind = parts[number]
        element = getattr(element, kind)[index]
        names.append(element.name)
        parts = PARTS.get(kind, {})
    return ".".join(names) if len(path) % 2 == 0 and len(path) > 0 else ""


def plain(comment: str) -> str:
    """The comment with one line for each paragraph."""
    paragraphs = comment.strip().split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in each.splitlines()) for each in paragraphs)


def comments(files: descriptor_pb2.FileDescriptorSet) -> Iterator[tuple[str, str]]:
    """Names of services, methods, messages, fields, oneofs, enums and values, each with its comment."""
    for file in files.file:
        for location in file.source_code_info.location:
            name = name_of(file, location.path)
            if name and location.leading_comments:
                yield name, plain(location.leading_comments)


def made() -> str:
    """The content of the file."""
    with tempfile.TemporaryDirectory() as folder:
        found = dict(sorted(comments(compiled(Path(folder)))))
    return json.dumps(found, ensure_ascii=False, indent=0) + "\n"


if __name__ == "__main__":
    TARGET.write_text(made())
