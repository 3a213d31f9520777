"""Reads weights from a file by its content, whatever its name. Errors tell what the file is instead.

No code in the file is run: pickles are read by torch's loader for weights only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pickle
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.shards import shard_files
from clipserve_exporter.sources.wrappings import Unused, named

LFS_POINTER = b"version https://git-lfs"
"""First bytes of a file that Git LFS has not fetched yet."""
KINDS: tuple[tuple[bytes, str], ...] = (
    (
        LFS_POINTER,
        "a Git LFS pointer and not the weights themselves; fetch them with `git lfs pull`",
    ),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first"),
    (b"\x89HDF", "an HDF5 file; only PyTorch's and safetensors files are read"),
    (b"GGUF", "a GGUF file; only PyTorch's and safetensors files are read"),
    (b"<", "a web page and not the weights; download them again, without a login page in between"),
    (b"{", "JSON and not weights"),
)
"""First bytes of other kinds of files, and what to tell the user about them."""
BLANKS = b"\xef\xbb\xbf \t\r\n"
"""What may stand before the text of a file."""
SAFETENSORS_HEADER = 8
"""Bytes of the header's length, little endian, before the header, which is JSON."""
MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format."""
MAX_FILE_BYTES = 2**63
"""The largest file that a file system can address."""
UNPACKED_BYTES, UNPACKED_FACTOR = 64 << 20, 4
"""Most bytes in a ZIP archive: these, and so many for each byte of the file. Weights are not compressed."""
CODE = re.compile(r"GLOBAL ([\w.]+)|Unsupported class:? ([\w.]+)")
"""Matches the class or function that torch's loader refuses."""

CLASSES = (
    *map(".".join, product(("numpy.core.multiarray", "numpy._core.multiarray"), ("scalar", "_reconstruct"))),
    *("numpy.dtype", "numpy.ndarray"),
    *map(".".join, product(("pathlib", "pathlib._local"), ("PosixPath", "WindowsPath"))),
    *map(".".join, product(("pathlib", "pathlib._local"), ("PurePosixPath", "PureWindowsPath"))),
)
DATA = [argparse.Namespace, *((Unused, name) for name in CLASSES)]
"""Types that training programs store with the weights: options, losses, random states, paths."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Returns the weights in a file by name, on the CPU. Raises ExportError with the cause.

    The index of a model in several files stands for all of them.
    """
    path = Path(path)
    head = beginning(path)
    if is_safetensors(head) or not head.lstrip(BLANKS).startswith(b"{"):
        return named(read_content(path), path)
    content: dict[str, Any] = {}
    for file in shard_files(path):
        part = read_content(file)
        if not isinstance(part, Mapping):
            raise ExportError(f"{file} contains no weights")
        content |= part
    if not content:
        raise ExportError(f"{path} is JSON and not weights; name the file that holds the weights themselves")
    return named(content, path)


def read_content(path: Path) -> Any:
    """Returns what a file of PyTorch or safetensors contains. Raises ExportError with the cause."""
    head = beginning(path)
    if not head.strip(b"\0"):
        raise ExportError(
            f"{path} is empty"
            if not head
            else f"{path} begins with zeros: its download was interrupted; download the file again"
        )
    if is_safetensors(head):
        return read_safetensors(path, header_bytes(head))
    for magic, what in KINDS:
        if head.lstrip(BLANKS).startswith(magic):
            raise ExportError(f"{path} is {what}")
    if head.startswith(b"PK"):
        require_archive_of_torch(path)
    with contextlib.suppress(tarfile.TarError):
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        raise ExportError(f"{path} is a tar archive; unpack it first, and pass the file of weights in it")
    return read_pickle(path)


def beginning(path: Path) -> bytes:
    """Returns the first bytes of a file. Refuses pipes and devices, since opening one can block forever."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ExportError(f"{path} is a pipe or a device, not a file; copy the weights to a file")
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}") from error


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins with `head` is one of safetensors: the header's length, then JSON."""
    begins = head[SAFETENSORS_HEADER : SAFETENSORS_HEADER + 1] == b"{"
    return begins and header_bytes(head) <= MAX_HEADER_BYTES


def header_bytes(head: bytes) -> int:
    """Returns the length of a safetensors header."""
    return int.from_bytes(head[:SAFETENSORS_HEADER], "little")


def require_archive_of_torch(path: Path) -> None:
    """Raises ExportError if a ZIP archive was not written by torch.save."""
    names = entries(path)
    if names is None:
        raise ExportError(
            f"{path} is truncated: the end of PyTorch's archive is missing; download the file again"
        )
    if of_torchscript(names):
        raise ExportError(
            f"{path} is a TorchScript archive; pass it with --pretrained, or save only its weights: "
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise ExportError(
            f"{path} is a ZIP archive that torch.save did not write; unpack it first, and pass the file of "
            "weights in it"
        )


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, the format in which OpenAI published its weights.

    Raises ExportError for a damaged ZIP archive.
    """
    return beginning(path).startswith(b"PK") and of_torchscript(entries(path) or [])


def of_torchscript(names: Iterable[str]) -> bool:
    """Whether these are the entries of a TorchScript archive."""
    return any("/code/" in name for name in names)


def entries(path: Path) -> list[str] | None:
    """Returns the names in a ZIP archive; None if its end is missing.

    Raises ExportError if the archive is damaged, or unpacks to much more than its size.
    """
    try:
        if not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            names = archive.namelist()
    except Exception as error:  # zipfile raises many kinds of errors for a damaged list.
        raise ExportError(f"{path} is damaged: the list of its entries cannot be read") from error
    size = path.stat().st_size
    if unpacked > UNPACKED_BYTES + UNPACKED_FACTOR * size:
        raise ExportError(
            f"{path} has {size:,} bytes and would unpack to {unpacked:,}; torch.save does not compress: it "
            "is not a file of weights"
        )
    return names


def read_safetensors(path: Path, length: int) -> Mapping[str, Any]:
    """Reads the tensors of a safetensors file whose header has `length` bytes."""
    size = path.stat().st_size
    whole = safetensors_bytes(path, length)
    if size < whole:
        raise ExportError(f"{path} is truncated: it has {size:,} of {whole:,} bytes; download the file again")
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises many kinds of errors for damaged bytes.
        raise ExportError(f"{path} is a damaged safetensors file: {first_line(error)}") from error


def safetensors_bytes(path: Path, length: int) -> int:
    """Returns the size of a file according to its header; a lower bound if the header is truncated."""
    begin = SAFETENSORS_HEADER + length
    with path.open("rb") as file:
        text = file.read(begin)[SAFETENSORS_HEADER:]
    if len(text) < length:
        return begin
    try:
        ends = [
            entry["data_offsets"][1] for name, entry in json.loads(text).items() if name != "__metadata__"
        ]
        if not all(isinstance(end, int) and 0 <= end < MAX_FILE_BYTES for end in ends):
            raise ValueError("an end offset is not an offset in a file")
        return begin + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ExportError(f"{path} is a damaged safetensors file: its header cannot be read") from error


def read_pickle(path: Path) -> Any:
    """Reads a file of torch.save; refuses files that contain code."""
    try:
        with torch.serialization.safe_globals(DATA), path.open("rb") as file:
            # Not the path: torch would look at its suffix.
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = CODE.search(str(error))
        if code:
            raise ExportError(
                f"{path} contains Python objects ({code[1] or code[2]}) besides weights; loading them could "
                "run code. Save only the weights: torch.save(model.state_dict(), FILE)"
            ) from error
        raise ExportError(f"{path} is not a file of weights, or it is damaged") from error
    except EOFError as error:
        raise ExportError(f"{path} is truncated; download the file again") from error
    except Exception as error:
        # torch raises many kinds of errors for damaged bytes: struct.error, AssertionError, …
        raise ExportError(
            f"{path} is not a file of weights, or it is damaged: {first_line(error)}"
        ) from error


def first_line(error: BaseException) -> str:
    """Returns an error's first line without PyTorch's advice to switch the safe loader off."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line.split("weights_only")[0].rstrip(" `")[:200]
