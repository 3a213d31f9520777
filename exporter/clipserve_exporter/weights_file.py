"""Reads the weights out of a file, whatever its name and its wrapping; says in a sentence what else it is.

Nothing in the file is run: pickles are read by torch's loader for weights alone.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clipserve_exporter.errors import ExportError

STATE = ("state_dict", "model_state_dict", "model", "module")
"""Where training programs put the weights that they train."""
OTHER_STATES = ("net", "network", "weights", "params", "ema", "model_ema", "ema_state_dict", "clip")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "clip.", "clip_model.", "_forward_module.")
"""What DataParallel, torch.compile and training programs put before every name."""
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's archives keep among the weights."""
KINDS: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer and not the weights themselves; fetch them with `git lfs pull`",
    ),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first"),
    (b"\x89HDF", "an HDF5 file; only PyTorch's and safetensors files are read"),
    (b"GGUF", "a GGUF file; only PyTorch's and safetensors files are read"),
    (b"<", "a web page and not the weights; download them again, without a login page in between"),
    (b"{", "JSON and not weights; name the file that holds the weights themselves"),
)
"""How other files begin, and what they are."""
SAFETENSORS_HEADER = 8
"""Bytes of the header's length, little endian, before the header, which is JSON."""
LARGEST_HEADER = 100_000_000
"""Bytes; the limit of the format."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The weights in a file, by name, on the CPU. Raises ExportError, which says what is wrong."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}") from error
    if not head.strip(b"\0"):
        raise ExportError(
            f"{path} is empty" if not head else f"{path} begins with zeros: its download broke off"
        )
    length = int.from_bytes(head[:SAFETENSORS_HEADER], "little")
    if head[SAFETENSORS_HEADER : SAFETENSORS_HEADER + 1] == b"{" and length <= LARGEST_HEADER:
        return named(read_safetensors(path, length), path)
    for magic, what in KINDS:
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(magic):
            raise ExportError(f"{path} is {what}")
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise ExportError(f"{path} is cut off: the end of PyTorch's archive is missing; get the file again")
    return named(read_pickle(path), path)


def read_safetensors(path: Path, length: int) -> Mapping[str, Any]:
    """The tensors of a safetensors file whose header has `length` bytes."""
    size = path.stat().st_size
    whole = size_of_safetensors(path, length)
    if size < whole:
        raise ExportError(f"{path} is cut off: it has {size:,} of {whole:,} bytes; get the file again")
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ExportError(f"{path} is a damaged safetensors file: {first_line(error)}") from error


def size_of_safetensors(path: Path, length: int) -> int:
    """How many bytes the file has by its own header; with a header that is cut off, at least so many."""
    begin = SAFETENSORS_HEADER + length
    with path.open("rb") as file:
        text = file.read(begin)[SAFETENSORS_HEADER:]
    if len(text) < length:
        return begin
    try:
        ends = [
            entry["data_offsets"][1] for name, entry in json.loads(text).items() if name != "__metadata__"
        ]
        return begin + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ExportError(f"{path} is a damaged safetensors file: its header cannot be read") from error


def read_pickle(path: Path) -> Any:
    """What a file of torch.save holds, as far as it is data and not code."""
    try:
        # Training programs keep their options beside the weights; the class holds data only.
        with torch.serialization.safe_globals([argparse.Namespace]), path.open("rb") as file:
            # Of a path torch looks at the suffix.
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:class|global): ([\w.]+)", str(error))
        if code:
            raise ExportError(
                f"{path} holds Python objects ({code[1] or code[2]}) beside weights; to load them could run "
                "code. Save the weights alone: torch.save(model.state_dict(), FILE)"
            ) from error
        raise ExportError(f"{path} is no file of weights, or it is damaged") from error
    except EOFError as error:
        raise ExportError(f"{path} is cut off; get the file again") from error
    except (RuntimeError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ExportError(f"{path} is no file of weights, or it is damaged: {first_line(error)}") from error


def named(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights in what a file holds, under the names that the model gives them."""
    while isinstance(content, Mapping) and not tensors(content):
        inner = wrapped(content, path)
        if inner is None:
            break
        content = inner
    weights = tensors(content) if isinstance(content, Mapping) else {}
    weights = {name: value for name, value in weights.items() if name not in NOT_WEIGHTS}
    if not weights:
        what = (
            f"only {', '.join(map(str, list(content)[:5]))}" if isinstance(content, Mapping) else "no names"
        )
        raise ExportError(f"{path} holds no weights: {what}")
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), ""):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    if any(name.startswith(("vision_model.", "text_model.")) for name in weights):
        raise ExportError(
            f"the weights of {path} are named as in Hugging Face's transformers; get the model's weights "
            "for open_clip (a file open_clip_model.safetensors or open_clip_pytorch_model.bin)"
        )
    return weights


def tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Its entries that are tensors. None where a larger mapping lies beside them."""
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    holds_more = any(len(value) > len(weights) for value in content.values() if isinstance(value, Mapping))
    return {} if holds_more else weights


def wrapped(content: Mapping[Any, Any], path: Path) -> Any:
    """What a wrapping holds; None if it is none. ExportError where there are several."""
    for names in (STATE, OTHER_STATES):
        held = {
            name: content[name] for name in names if isinstance(content.get(name), Mapping) and content[name]
        }
        if len(held) > 1:
            raise ExportError(
                f"{path} holds several sets of weights ({', '.join(held)}); save one of them alone: "
                f"torch.save(torch.load(FILE)[{next(iter(held))!r}], OTHER)"
            )
        if held:
            return next(iter(held.values()))
    return None


def first_line(error: BaseException) -> str:
    """What an error says, in short, and without PyTorch's advice to switch the safe loader off."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line.split("weights_only")[0][:200]
