"""CIFAR batches: Python pickles or binary records, plain, compressed or in an archive."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from clipserve.inputs.files import open_regular
from clipserve.tools.evaluation.bounded import MAX_FILE_BYTES, MAX_MEMBER_BYTES, Bounded, read_file
from clipserve.tools.evaluation.cifar_arrays import array_samples
from clipserve.tools.evaluation.cifar_sets import PIXELS, CifarSet, is_other, other_set
from clipserve.tools.evaluation.dataset import DatasetError, Sample
from clipserve.tools.evaluation.unpickle import load_plain

PICKLE_SUFFIXES = ("", ".pkl", ".pickle", ".p")
BINARY_SUFFIXES = (".bin",)
GZIP = b"\x1f\x8b"
PICKLES = (b"\x80", b"(", b"}")
"""First byte of a pickled dictionary. Labels of binary batches do not have these values."""
MAX_LABEL = 1_000


def suffixes(packed: bool = True) -> tuple[tuple[str, ...], ...]:
    """The suffixes of pickled batches, and of binary ones."""
    both = (PICKLE_SUFFIXES, BINARY_SUFFIXES)
    return tuple((*kind, *(f"{suffix}.gz" for suffix in kind)) if packed else kind for kind in both)


def read_batch(path: Path) -> bytes:
    """The unpacked bytes of a batch. Raises DatasetError, OSError."""
    content = read_file(path)
    if not content.startswith(GZIP):
        return content
    try:
        with open_regular(path) as file, gzip.GzipFile(fileobj=file) as packed:
            content = packed.read(MAX_MEMBER_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is not a readable gzip file: {error}") from error
    if len(content) > MAX_MEMBER_BYTES:
        raise DatasetError(f"{path} unpacks to more than {MAX_MEMBER_BYTES:,} bytes")
    return content


def batch_samples(name: str, content: bytes, ours: CifarSet) -> Iterator[Sample]:
    whole = len(content) > 0 and len(content) % ours.record_bytes == 0
    if PurePosixPath(name.removesuffix(".gz")).suffix in BINARY_SUFFIXES or (
        whole and not content.startswith(PICKLES)
    ):
        return binary_samples(name, content, ours)
    return pickled_samples(name, content, ours)


def pickled_samples(name: str, content: bytes, ours: CifarSet) -> Iterator[Sample]:
    """A pickled dict of `data`, uint8 [N, 3072], and labels."""
    try:
        found = load_plain(content)
    except DatasetError as error:
        raise DatasetError(f"{name}: {error}") from error
    if not isinstance(found, dict):
        raise DatasetError(f"{name} is not a batch: it has no dictionary")
    batch = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in found.items()}
    if ours.pickled_labels not in batch and other_set(ours).pickled_labels in batch:
        raise is_other(name, ours)
    if "data" not in batch or ours.pickled_labels not in batch:
        raise DatasetError(f"{name} is not a {ours.name} batch: it needs data and {ours.pickled_labels}")
    labels = batch[ours.pickled_labels]
    return array_samples(name, pixels_of(name, batch["data"]), labels_of(name, labels), ours)


def pixels_of(name: str, value: Any) -> npt.NDArray[Any]:
    """The pictures as one array, from an array or a list of arrays. Raises DatasetError."""
    if isinstance(value, np.ndarray):
        return value
    rows = value if isinstance(value, list) else []
    if (
        all(isinstance(row, np.ndarray) and row.size == PIXELS and row.dtype == np.uint8 for row in rows)
        and 0 < len(rows) * PIXELS <= MAX_MEMBER_BYTES  # a short list can repeat one array
        and len({row.shape for row in rows}) == 1
    ):
        return np.stack(rows)
    raise DatasetError(f"{name}: data must be arrays of {PIXELS:,} bytes")


def labels_of(name: str, value: Any) -> npt.NDArray[Any]:
    """The labels as an array, from an array or a flat list; nested lists can be huge. Raises DatasetError."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, list) and all(type(item) is int and 0 <= item < MAX_LABEL for item in value):
        return np.array(value, np.int64)
    raise DatasetError(f"{name}: labels must be whole numbers from 0 on")


def binary_samples(name: str, content: bytes, ours: CifarSet) -> Iterator[Sample]:
    """The samples of records: one or two label bytes, then the planes red, green and blue."""
    if not content or len(content) % ours.record_bytes:
        if content and len(content) % other_set(ours).record_bytes == 0:
            raise is_other(name, ours)
        raise DatasetError(
            f"{name} has {len(content)} bytes, not a multiple of records of {ours.record_bytes} bytes"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, ours.record_bytes)
    return array_samples(name, records[:, ours.label_bytes :], records[:, ours.label_bytes - 1], ours)


def tar_samples(path: Path, split: str, ours: CifarSet) -> Iterator[Sample]:
    """The samples of an archive, which is read without extracting it."""
    forms = suffixes(packed=False)
    wanted = {name + suffix: name for name in ours.batches[split] for form in forms for suffix in form}
    foreign = {name + suffix for name in other_set(ours).batches[split] for form in forms for suffix in form}
    batches: dict[str, bytes] = {}
    has_other = False
    try:
        with open_regular(path) as file, opened_archive(file) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                has_other |= name in foreign
                batch = archive.extractfile(member) if name in wanted and member.isfile() else None
                if batch is None:
                    continue
                if member.size > MAX_MEMBER_BYTES:
                    raise DatasetError(f"{name} in {path} is too large for a batch of {ours.name}")
                batches[name] = batch.read()
    except DatasetError:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, MemoryError) as error:
        raise DatasetError(f"{path} is not a readable archive: {error}") from error
    if not batches and has_other:
        raise is_other(path.name, ours)
    require_all(len({wanted[name] for name in batches}), split, path, ours)
    return (sample for name in sorted(batches) for sample in batch_samples(name, batches[name], ours))


def opened_archive(file: BinaryIO) -> tarfile.TarFile:
    """The archive. At most MAX_FILE_BYTES are unpacked."""
    packed = file.read(2) == GZIP
    file.seek(0)
    content = gzip.GzipFile(fileobj=file) if packed else file
    return tarfile.open(fileobj=Bounded(content, MAX_FILE_BYTES), mode="r:")


def require_all(count: int, split: str, path: Path, ours: CifarSet) -> None:
    """Raises DatasetError unless `count` is the number of batches of the split."""
    if count != len(ours.batches[split]):
        raise DatasetError(f"{path} has {count} of the {len(ours.batches[split])} {split} batches")
