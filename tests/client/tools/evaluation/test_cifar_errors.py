"""Files that are not CIFAR-10 say why."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from client.dataset_files import LABELS, PLANES, archive
from clipserve.tools.evaluation.cifar import load_cifar10
from clipserve.tools.evaluation.dataset import DatasetError


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("test_batch", b"junk", "not a readable pickle"),
        ("test_batch", pickle.dumps([1, 2]), "is not a batch"),
        ("test_batch", pickle.dumps({"data": PLANES}), "needs data and labels"),
        ("test_batch", pickle.dumps({"data": PLANES[:, :9], "labels": LABELS}), "is not CIFAR-10"),
        ("test_batch", pickle.dumps({"data": PLANES, "labels": [1, 2, 3, 10]}), "has label 10"),
        ("test_batch.bin", b"x" * 100, "not a multiple of records of 3073 bytes"),
        ("test_batch.bin", b"", "not a multiple"),
        ("cifar-10-python.tar.gz", b"junk", "not a readable archive"),
        ("cifar-10-python.tar.gz", archive({"other": b""}), "has 0 of the 1 test batches"),
        ("test.npz", b"junk", "not a readable .npz"),
        ("unrelated.txt", b"junk", "no CIFAR-10 test set found"),
    ],
)
def test_what_is_no_cifar10_says_why(tmp_path, name, content, text):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=text):
        load_cifar10(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"a": np.zeros(3)}, "has the arrays a; expected jpeg"),
        ({"jpeg": np.zeros(5, np.uint8), "offset": [0, 9], "label": [1]}, "do not fit together"),
        ({"jpeg": np.zeros(5, np.uint8), "offset": [3, 1], "label": [1]}, "do not fit together"),
        ({"images": np.zeros((2, 9), np.uint8), "labels": [1, 2]}, "is not CIFAR-10"),
        ({"images": np.array([object()]), "labels": [1]}, "not a readable .npz"),
    ],
)
def test_archives_that_are_no_cifar10_say_why(tmp_path, arrays, text):
    np.savez(tmp_path / "test.npz", **arrays)
    with pytest.raises(DatasetError, match=text):
        load_cifar10(tmp_path)


def test_missing_paths_and_splits_say_so(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        load_cifar10(tmp_path / "missing")
    with pytest.raises(DatasetError, match="splits test and train"):
        load_cifar10(tmp_path, "val")
