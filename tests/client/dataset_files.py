"""Files of labelled sets, as their publishers lay them out."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pyarrow
import pyarrow.ipc
from client.pictures import pixels, png
from clipserve.labels import vocabulary
from pyarrow import parquet

COUNT = 4

IMAGES = np.stack([pixels(i, 32, 32) for i in range(COUNT)])

LABELS = [3, 0, 9, 3]

PLANES = IMAGES.transpose(0, 3, 1, 2).reshape(COUNT, 3072)


def batch(protocol=2):
    return pickle.dumps({b"data": PLANES, b"labels": LABELS, b"batch_label": b"x"}, protocol)


def records():
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(LABELS, PLANES, strict=True))


def archive(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def tree(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"picture")


def shard(path, start, count=2, **columns):
    """A Parquet file as Hugging Face writes them, with pictures `start` … and labels of the same numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [{"bytes": png(i), "path": None} for i in range(start, start + count)]
    table = {"img": files, "label": list(range(start, start + count))} | columns
    parquet.write_table(pyarrow.table(table), path)
    return path


def check(dataset, images=IMAGES):
    """Asserts that the set is CIFAR-10 with these pictures and LABELS."""
    assert [sample.label for sample in dataset.samples] == LABELS
    assert dataset.classes == vocabulary("cifar10").classes
    assert len(dataset.templates) == 18
    for sample, expected in zip(dataset.samples, images, strict=True):
        np.testing.assert_array_equal(sample.image, expected)
