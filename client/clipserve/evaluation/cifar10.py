"""CIFAR-10, in the layouts it is passed around in.

- `cifar-10-batches-py`: Python pickles (read without running what they name);
- `cifar-10-batches-bin`: records of a label byte and 3 × 1,024 pixel bytes;
- the `.tar.gz` archives that these two are published in;
- `.npz`: files concatenated in `jpeg` with `offset` and `label`, or arrays `x_test` and `y_test`;
- Parquet files as Hugging Face writes them (needs pyarrow);
- a folder for each class.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from clipserve.evaluation.bounded import MAX_FILE_BYTES, MAX_MEMBER_BYTES, Bounded, read_file
from clipserve.evaluation.dataset import Dataset, DatasetError, Sample
from clipserve.evaluation.folder import class_folders, folder_samples
from clipserve.evaluation.unpickle import load_plain
from clipserve.files import open_regular
from clipserve.labels import vocabulary

SIDE = 32
PIXELS = 3 * SIDE * SIDE
RECORD = 1 + PIXELS
BATCHES = {
    "test": ("test_batch",),
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
}


def load_cifar10(path: Path, split: str = "test") -> Dataset:
    """The test or train split found at `path`, a file or a folder. DatasetError if there is none."""
    if split not in BATCHES:
        raise DatasetError(f"CIFAR-10 has the splits test and train, not {split!r}")
    words = vocabulary("cifar10")
    samples = list(find_samples(path, split, words.classes))
    for sample in samples:
        if not 0 <= sample.label < len(words.classes):
            raise DatasetError(f"{sample.name} has label {sample.label}; CIFAR-10 has 0 to 9")
    return Dataset(f"CIFAR-10 {split}", words.classes, samples, words.templates)


def find_samples(path: Path, split: str, classes: tuple[str, ...]) -> Iterator[Sample]:
    """The samples of whichever layout is there."""
    if not path.exists():
        raise DatasetError(f"{path} does not exist")
    if not path.is_dir():
        return file_samples(path, split)
    for suffix in ("", ".bin"):
        found = [file for name in BATCHES[split] for file in sorted(path.rglob(name + suffix))[:1]]
        if found:
            require_all(len(found), split, path)
            return (sample for file in found for sample in batch_samples(file.name, read_file(file)))
    for pattern in (f"*{split}*.npz", f"*{split}*.parquet", "cifar-10-*.tar.gz"):
        if files := sorted(path.rglob(pattern)):
            return (sample for file in files[:1] for sample in file_samples(file, split))
    below = path / split if (path / split).is_dir() else path
    if class_folders(below):
        return iter(folder_samples(below, classes))
    raise DatasetError(
        f"no CIFAR-10 {split} set found in {path}; expected cifar-10-batches-py, cifar-10-batches-bin, "
        "their .tar.gz, an .npz, a .parquet, or a folder for each class"
    )


def file_samples(path: Path, split: str) -> Iterator[Sample]:
    """The samples of one file."""
    if path.suffix == ".npz":
        return npz_samples(path, split)
    if path.suffix == ".parquet":
        return parquet_samples(path)
    if path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return tar_samples(path, split)
    return batch_samples(path.name, read_file(path))


def batch_samples(name: str, content: bytes) -> Iterator[Sample]:
    """The samples of one batch file, binary or pickled."""
    if PurePosixPath(name).suffix == ".bin":
        return binary_samples(name, content)
    return pickled_samples(name, content)


def pickled_samples(name: str, content: bytes) -> Iterator[Sample]:
    """A pickled dict of `data`, uint8 [N, 3072], and `labels`."""
    found = load_plain(content)
    if not isinstance(found, dict):
        raise DatasetError(f"{name} holds no batch")
    batch = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in found.items()}
    if "data" not in batch or "labels" not in batch:
        raise DatasetError(f"{name} holds no CIFAR-10 batch: data and labels are missing")
    return array_samples(name, batch_array(name, batch["data"]), batch_array(name, batch["labels"]))


def batch_array(name: str, value: Any) -> npt.NDArray[Any]:
    """An array, or a flat list of numbers as one: lists within lists can be far larger than their file."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, list) and all(type(item) is int and 0 <= item < RECORD for item in value):
        return np.array(value, np.int64)
    raise DatasetError(f"{name} holds data or labels that are not arrays of numbers")


def binary_samples(name: str, content: bytes) -> Iterator[Sample]:
    """Records of a label byte and the planes of red, green and blue."""
    if not content or len(content) % RECORD:
        raise DatasetError(f"{name} has {len(content)} bytes, no whole number of {RECORD}-byte records")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    return array_samples(name, records[:, 1:], records[:, 0])


def tar_samples(path: Path, split: str) -> Iterator[Sample]:
    """The batches of an archive, read without unpacking it."""
    wanted = {name + suffix for name in BATCHES[split] for suffix in ("", ".bin")}
    batches: dict[str, bytes] = {}
    try:
        with open_regular(path) as file, opened_archive(file) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                batch = archive.extractfile(member) if name in wanted and member.isfile() else None
                if batch is None:
                    continue
                if member.size > MAX_MEMBER_BYTES:
                    raise DatasetError(f"{name} in {path} is too large for a batch of CIFAR-10")
                batches[name] = batch.read()
    except DatasetError:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, MemoryError) as error:
        raise DatasetError(f"{path} is not a readable archive: {error}") from error
    require_all(len(batches), split, path)
    return (sample for name in sorted(batches) for sample in batch_samples(name, batches[name]))


def opened_archive(file: BinaryIO) -> tarfile.TarFile:
    """The archive, of which no more is unpacked than a data set needs."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    content = gzip.GzipFile(fileobj=file) if packed else file
    return tarfile.open(fileobj=Bounded(content, MAX_FILE_BYTES), mode="r:")


def require_all(found: int, split: str, path: Path) -> None:
    """DatasetError unless every batch of the split is there."""
    if found != len(BATCHES[split]):
        raise DatasetError(f"{path} has {found} of the {len(BATCHES[split])} {split} batches")


def npz_samples(path: Path, split: str) -> Iterator[Sample]:
    """An .npz of JPEG files, or of arrays."""
    try:
        with open_regular(path) as file:
            check_unpacked(file)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except DatasetError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, TypeError) as error:
        raise DatasetError(f"{path} is not a readable .npz file: {error}") from error
    if {"jpeg", "offset", "label"} <= arrays.keys():
        return jpeg_samples(path.name, arrays["jpeg"], arrays["offset"], arrays["label"])
    for images, labels in ((f"x_{split}", f"y_{split}"), ("images", "labels"), ("data", "labels")):
        if {images, labels} <= arrays.keys():
            return array_samples(path.name, arrays[images], arrays[labels])
    raise DatasetError(
        f"{path} holds {', '.join(arrays) or 'nothing'}; expected jpeg, offset and label, "
        f"or x_{split} and y_{split}, or images and labels"
    )


def check_unpacked(file: BinaryIO) -> None:
    """DatasetError for an .npz that unpacks to more than a data set has."""
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_FILE_BYTES:
        raise DatasetError(f"it unpacks to {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    file.seek(0)


def jpeg_samples(
    name: str, jpeg: npt.NDArray[Any], offset: npt.NDArray[Any], label: npt.NDArray[Any]
) -> Iterator[Sample]:
    """Files concatenated in `jpeg`: the i-th is jpeg[offset[i]:offset[i + 1]]."""
    if offset.dtype.kind not in "iu" or label.dtype.kind not in "iu" or offset.ndim != 1 or label.ndim != 1:
        raise DatasetError(f"{name}: jpeg, offset and label do not fit together")
    bounds = offset.astype(np.int64)
    ordered = len(bounds) == len(label) + 1 and (np.diff(bounds) >= 0).all()
    if jpeg.dtype != np.uint8 or not ordered or bounds[0] < 0 or bounds[-1] > len(jpeg):
        raise DatasetError(f"{name}: jpeg, offset and label do not fit together")
    content = jpeg.tobytes()
    return (
        Sample(f"{name}[{i}]", content[bounds[i] : bounds[i + 1]], int(label[i])) for i in range(len(label))
    )


def array_samples(name: str, images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Iterator[Sample]:
    """Pixels as uint8 [N, 3072] by planes, [N, 3, 32, 32] or [N, 32, 32, 3]."""
    labels = labels.reshape(-1)
    whole = labels.dtype.kind in "iu" and images.ndim > 1 and len(images) == len(labels) > 0
    if images.dtype != np.uint8 or not whole or images[0].size != PIXELS:
        raise DatasetError(
            f"{name}: {images.dtype} {list(images.shape)} with {len(labels)} labels is no CIFAR-10"
        )
    if images.shape[1:] != (SIDE, SIDE, 3):
        images = images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return (Sample(f"{name}[{i}]", images[i], int(labels[i])) for i in range(len(labels)))


def parquet_samples(path: Path) -> Iterator[Sample]:
    """A Parquet file with columns `img` (or `image`), a struct with the file's bytes, and `label`."""
    rows = read_parquet(path)
    image = next((name for name in ("img", "image") if name in rows), None)
    label = next((name for name in ("label", "labels") if name in rows), None)
    if image is None or label is None:
        raise DatasetError(f"{path} has the columns {', '.join(rows)}; expected img and label")
    for i, (file, number) in enumerate(zip(rows[image], rows[label], strict=True)):
        content = file.get("bytes") if isinstance(file, dict) else None
        if not isinstance(content, bytes) or type(number) is not int:
            raise DatasetError(f"{path}: row {i} has no file's bytes, or no whole number as its label")
        yield Sample(f"{path.name}[{i}]", content, number)


def read_parquet(path: Path) -> dict[str, list[Any]]:
    """Columns by name; DatasetError where pyarrow is missing or the file is none."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise DatasetError("reading Parquet needs pyarrow: pip install pyarrow") from None
    try:
        file = parquet.ParquetFile(io.BytesIO(read_file(path)))
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
        if size > MAX_FILE_BYTES:
            raise DatasetError(f"{path} unpacks to {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        columns: dict[str, list[Any]] = file.read().to_pydict()
    except DatasetError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise DatasetError(f"{path} is not a readable Parquet file: {error}") from error
    return columns
