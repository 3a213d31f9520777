"""CIFAR pictures and labels in arrays: .npz and .npy."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from clipserve.inputs.files import open_regular
from clipserve.tools.evaluation.bounded import MAX_FILE_BYTES, read_file
from clipserve.tools.evaluation.cifar_sets import PIXELS, SIDE, CifarSet
from clipserve.tools.evaluation.dataset import DatasetError, Sample

UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, TypeError)
PICTURE_WORD = re.compile(r"(?<![a-z])(data|images|x)(?![a-z])", re.IGNORECASE)
"""Word in the name of a file of pictures; the name of its file of labels has one of LABEL_WORDS."""
LABEL_WORDS = {"data": ("labels",), "images": ("labels",), "x": ("y", "Y")}


def array_samples(
    name: str, images: npt.NDArray[Any], labels: npt.NDArray[Any], ours: CifarSet
) -> Iterator[Sample]:
    """Samples of uint8 [N, 3072] in planes, [N, 3, 32, 32] or [N, 32, 32, 3] and labels [N] or [N, 1]."""
    labels = labels.reshape(-1)
    shapes = f"{images.dtype} {list(images.shape)} with {len(labels)} labels"
    if labels.dtype.kind not in "iu" or images.ndim < 2 or not len(images) == len(labels) > 0:
        raise DatasetError(f"{name}: {shapes} is not {ours.name}")
    if images[0].size != PIXELS:
        raise DatasetError(f"{name}: {shapes} is not {ours.name}, whose pictures have {PIXELS:,} values")
    if images.dtype != np.uint8:
        raise DatasetError(f"{name}: {shapes} is not {ours.name}, whose pixels are uint8")
    if images.shape[1:] != (SIDE, SIDE, 3):
        images = images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return (Sample(f"{name}[{i}]", images[i], int(labels[i])) for i in range(len(labels)))


def jpeg_samples(
    name: str, jpeg: npt.NDArray[Any], offset: npt.NDArray[Any], label: npt.NDArray[Any]
) -> Iterator[Sample]:
    """Samples of JPEG files that are concatenated in `jpeg`: jpeg[offset[i]:offset[i + 1]] is the i-th."""
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


def pairs_of(split: str) -> list[tuple[str, str]]:
    """Names of the arrays of pictures and of labels; names with the split come first."""
    return [
        *((f"x_{split}", f"y_{split}"), (f"{split}_x", f"{split}_y")),
        *((f"{split}_images", f"{split}_labels"), (f"{split}_data", f"{split}_labels")),
        *(("images", "labels"), ("data", "labels"), ("x", "y"), ("image", "label")),
    ]


def names_split(path: Path, split: str) -> bool:
    """Whether an .npz has arrays with names of the split."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            names = {name.removesuffix(".npy").lower() for name in archive.namelist()}
    except UNREADABLE:
        return False
    return any({images, labels} <= names for images, labels in pairs_of(split)[:4])


def npz_samples(path: Path, split: str, ours: CifarSet) -> Iterator[Sample]:
    try:
        with open_regular(path) as file:
            check_unpacked(file)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except DatasetError:
        raise
    except UNREADABLE as error:
        raise DatasetError(f"{path} is not a readable .npz file: {error}") from error
    if {"jpeg", "offset", "label"} <= arrays.keys():
        return jpeg_samples(path.name, arrays["jpeg"], arrays["offset"], arrays["label"])
    by_name = {name.lower(): array for name, array in arrays.items()}
    for images, labels in pairs_of(split):
        if {images, labels} <= by_name.keys():
            return array_samples(path.name, by_name[images], by_name[labels], ours)
    raise DatasetError(
        f"{path} has the arrays {', '.join(arrays) or '(none)'}; expected jpeg, offset and label, "
        f"or x_{split} and y_{split}, or images and labels"
    )


def check_unpacked(file: BinaryIO) -> None:
    """Raises DatasetError for an .npz that unpacks to more than MAX_FILE_BYTES."""
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_FILE_BYTES:
        raise DatasetError(f"it unpacks to {size:,} bytes; the limit is {MAX_FILE_BYTES:,}")
    file.seek(0)


def npy_samples(path: Path, ours: CifarSet) -> Iterator[Sample]:
    """The samples of an .npy file of pictures and the .npy file of their labels beside it."""
    beside = labels_beside(path)
    if beside is None:
        raise DatasetError(
            f"{path} has no file of labels beside it; expected NAME_data.npy and NAME_labels.npy, "
            "or x_NAME.npy and y_NAME.npy"
        )
    return array_samples(path.name, read_npy(path), read_npy(beside), ours)


def labels_beside(path: Path) -> Path | None:
    """The file of labels for a file of pictures; None if there is none."""
    for word in PICTURE_WORD.finditer(path.stem):
        for label in LABEL_WORDS[word[0].lower()]:
            beside = path.with_name(path.stem[: word.start()] + label + path.stem[word.end() :] + path.suffix)
            if beside.is_file():
                return beside
    return None


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a file. Raises DatasetError."""
    try:
        array: npt.NDArray[Any] = np.load(io.BytesIO(read_file(path)), allow_pickle=False)
    except DatasetError:
        raise
    except UNREADABLE as error:
        raise DatasetError(f"{path} is not a readable .npy file: {error}") from error
    return array
