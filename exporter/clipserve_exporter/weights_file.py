"""Reads the weights out of a file, whatever its name and its wrapping; says in a sentence what else it is.

Nothing in the file is run: pickles are read by torch's loader for weights alone.
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
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from clipserve_exporter.errors import ExportError

STATE = ("state_dict", "model_state_dict", "model", "module")
"""Where training programs put the weights that they train."""
OTHER_STATES = ("net", "network", "weights", "params", "ema", "model_ema", "ema_state_dict", "clip")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "clip.", "clip_model.", "_forward_module.")
"""What DataParallel, torch.compile and training programs put before every name."""
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "n_averaged")
"""Numbers that OpenAI's archives and torch's AveragedModel keep among the weights."""
DEEPEST = 16
"""Wrappings, one in the other; a wrapping that holds itself would never end."""
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
LARGEST_FILE = 2**63
"""Bytes; what a file system can address."""
CODE = re.compile(r"GLOBAL ([\w.]+)|Unsupported class:? ([\w.]+)")
"""How torch's loader names the class or function that it refuses."""


class Unused:
    """Stands for a number, an array or a path beside the weights.

    Nothing of the value is read, so that no code of its real class runs.
    """

    def __new__(cls, *_: object) -> Unused:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        """Takes what the real class takes."""

    def __setstate__(self, _: object) -> None:
        """Takes what the real class takes."""


DATA = [
    argparse.Namespace,
    *(
        (Unused, name)
        for name in (
            *(
                f"numpy.{core}.multiarray.{function}"
                for core in ("core", "_core")
                for function in ("scalar", "_reconstruct")
            ),
            "numpy.dtype",
            "numpy.ndarray",
            *(
                f"{module}.{system}Path"
                for module in ("pathlib", "pathlib._local")
                for system in ("Posix", "Windows", "PurePosix", "PureWindows")
            ),
        )
    ),
]
"""What training programs keep beside the weights: options, losses, states of random numbers, paths."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The weights in a file, by name, on the CPU. Raises ExportError, which says what is wrong."""
    path = Path(path)
    head = beginning(path)
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
    if head.startswith(b"PK"):
        require_archive_of_torch(path)
    with contextlib.suppress(tarfile.TarError):
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        raise ExportError(f"{path} is a tar archive; unpack it first, and name the file of weights in it")
    return named(read_pickle(path), path)


def beginning(path: Path) -> bytes:
    """The first bytes of a file. A pipe or a device is refused: to open one can wait for ever."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ExportError(f"{path} is a pipe or a device and not a file; copy the weights into a file")
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}") from error


def require_archive_of_torch(path: Path) -> None:
    """ExportError unless a ZIP archive is one of torch.save."""
    names = entries(path)
    if names is None:
        raise ExportError(f"{path} is cut off: the end of PyTorch's archive is missing; get the file again")
    if of_torchscript(names):
        raise ExportError(
            f"{path} is a TorchScript archive; name it with --pretrained, or save its weights alone: "
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise ExportError(
            f"{path} is a ZIP archive and no file of torch.save; unpack it first, and name the file of "
            "weights in it"
        )


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, as OpenAI published its weights in.

    Raises ExportError for a damaged ZIP archive.
    """
    return beginning(path).startswith(b"PK") and of_torchscript(entries(path) or [])


def of_torchscript(names: Iterable[str]) -> bool:
    """Whether these are the entries of a TorchScript archive."""
    return any("/code/" in name for name in names)


def entries(path: Path) -> list[str] | None:
    """The names in a ZIP archive; None if its end is missing."""
    try:
        if not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception as error:  # Of a damaged list it raises whatever its bytes happen to lead to.
        raise ExportError(f"{path} is damaged: the list of its entries cannot be read") from error


def read_safetensors(path: Path, length: int) -> Mapping[str, Any]:
    """The tensors of a safetensors file whose header has `length` bytes."""
    size = path.stat().st_size
    whole = size_of_safetensors(path, length)
    if size < whole:
        raise ExportError(f"{path} is cut off: it has {size:,} of {whole:,} bytes; get the file again")
    try:
        return load_file(path)
    except Exception as error:  # As for pickles below.
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
        if not all(isinstance(end, int) and 0 <= end < LARGEST_FILE for end in ends):
            raise ValueError("an end that is no place in a file")
        return begin + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ExportError(f"{path} is a damaged safetensors file: its header cannot be read") from error


def read_pickle(path: Path) -> Any:
    """What a file of torch.save holds, as far as it is data and not code."""
    try:
        with torch.serialization.safe_globals(DATA), path.open("rb") as file:
            # Of a path torch looks at the suffix.
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = CODE.search(str(error))
        if code:
            raise ExportError(
                f"{path} holds Python objects ({code[1] or code[2]}) beside weights; to load them could run "
                "code. Save the weights alone: torch.save(model.state_dict(), FILE)"
            ) from error
        raise ExportError(f"{path} is no file of weights, or it is damaged") from error
    except EOFError as error:
        raise ExportError(f"{path} is cut off; get the file again") from error
    except Exception as error:
        # At damaged bytes the loaders of torch raise whatever those lead to: struct.error, AssertionError, …
        raise ExportError(f"{path} is no file of weights, or it is damaged: {first_line(error)}") from error


def named(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights in what a file holds, under the names that the model gives them."""
    for _ in range(DEEPEST):
        inner = wrapped(content, path) if isinstance(content, Mapping) and not tensors(content) else None
        if inner is None:
            break
        content = inner
    else:
        raise ExportError(f"{path} holds no weights: it has more than {DEEPEST} wrappings, one in the other")
    weights = without_numbers(tensors(content)) if isinstance(content, Mapping) else {}
    if not weights:
        raise ExportError(f"{path} holds no weights: {what_is_held(content)}")
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), ""):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
        weights = without_numbers(weights)
    if any(name.startswith(("vision_model.", "text_model.")) for name in weights):
        raise ExportError(
            f"the weights of {path} are named as in Hugging Face's transformers; get the model's weights "
            "for open_clip (a file open_clip_model.safetensors or open_clip_pytorch_model.bin)"
        )
    return weights


def without_numbers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without the numbers that are kept among them."""
    return {name: value for name, value in weights.items() if name not in NOT_WEIGHTS}


def what_is_held(content: Any) -> str:
    """What a file holds that holds no weights, in short."""
    if not isinstance(content, Mapping):
        return "no names"
    names = ", ".join(str(name)[:60] for name in list(content)[:5])
    if names and all(isinstance(value, Unused) for value in content.values()):
        return f"{names} are NumPy's and not tensors; save them with torch.from_numpy"
    return f"only {names}" if names else "it has no entries"


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
    return line.split("weights_only")[0].rstrip(" `")[:200]
