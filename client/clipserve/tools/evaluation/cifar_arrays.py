"""Pictures and labels in arrays: .npz and .npy."""

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
"""In the name of a file of pictures, where the file of its labels has another word."""
LABEL_WORDS = {"data": ("labels",), "images": ("labels",), "x": ("y", "Y")}


def array_samples(
    name: str, images: npt.NDArray[Any], labels: npt.NDArray[Any], ours: CifarSet
) -> Iterator[Sample]:
    """Pixels: uint8 [N, 3072] by planes, [N, 3, 32, 32] or [N, 32, 32, 3]; labels: integers [N] or [N, 1]."""
    labels = labels.reshape(-1)
    shapes = f"{images.dtype} {list(images.shape)} with {len(labels)} labels"
    if labels.dtype.kind not in "iu" or images.ndim < 2 or not len(images) == len(labels) > 0:
        raise DatasetError(f"{name}: {shapes} is no {ours.name}")
    if images[0].size != PIXELS:
        raise DatasetError(f"{name}: {shapes} is no {ours.name}, whose pictures have {PIXELS:,} values each")
    if images.dtype != np.uint8:
        raise DatasetError(f"{name}: {shapes} is no {ours.name}: pixels must be uint8, 0 to 255")
    if images.shape[1:] != (SIDE, SIDE, 3):
        images = images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return (Sample(f"{name}[{i}]", images[i], int(labels[i])) for i in range(len(labels)))


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


def pairs_of(split: str) -> list[tuple[str, str]]:
    """Names of an array of pictures and one of labels; those that name the split come first."""
    return [
        *((f"x_{split}", f"y_{split}"), (f"{split}_x", f"{split}_y")),
        *((f"{split}_images", f"{split}_labels"), (f"{split}_data", f"{split}_labels")),
        *(("images", "labels"), ("data", "labels"), ("x", "y"), ("image", "label")),
    ]


def names_split(path: Path, split: str) -> bool:
    """Whether an .npz has arrays that are named after the split."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            names = {name.removesuffix(".npy").lower() for name in archive.namelist()}
    except UNREADABLE:
        return False
    return any({images, labels} <= names for images, labels in pairs_of(split)[:4])


def npz_samples(path: Path, split: str, ours: CifarSet) -> Iterator[Sample]:
    """An .npz of JPEG files, or of arrays."""
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


def npy_samples(path: Path, ours: CifarSet) -> Iterator[Sample]:
    """Pictures in one .npy file, and labels in the one beside it."""
    beside = labels_beside(path)
    if beside is None:
        raise DatasetError(
            f"{path} has no file of labels beside it; expected NAME_data.npy and NAME_labels.npy, "
            "or x_NAME.npy and y_NAME.npy"
        )
    return array_samples(path.name, read_npy(path), read_npy(beside), ours)


def labels_beside(path: Path) -> Path | None:
    """The file of labels of a file of pictures; None if there is none."""
    for word in PICTURE_WORD.finditer(path.stem):
        for label in LABEL_WORDS[word[0].lower()]:
            beside = path.with_name(path.stem[: word.start()] + label + path.stem[word.end() :] + path.suffix)
            if beside.is_file():
                return beside
    return None


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a file; DatasetError."""
    try:
        array: npt.NDArray[Any] = np.load(io.BytesIO(read_file(path)), allow_pickle=False)
    except DatasetError:
        raise
    except UNREADABLE as error:
        raise DatasetError(f"{path} is not a readable .npy file: {error}") from error
    return array
