"""CIFAR-100, and how it is told from CIFAR-10."""

from __future__ import annotations

import io
import pickle

import pyarrow
import pyarrow.ipc
import pytest
from client.dataset_files import COUNT, PLANES, archive, batch, records, tree
from client.pictures import png
from clipserve.tools.evaluation.cifar import load_cifar10, load_cifar100
from clipserve.tools.evaluation.dataset import DatasetError
from pyarrow import parquet

FINE = [3, 0, 99, 42]


def cifar100(kind):
    """Names and contents of CIFAR-100's test files."""
    coarse = b"".join(bytes([9, label]) + row.tobytes() for label, row in zip(FINE, PLANES, strict=True))
    pickled = pickle.dumps({b"data": PLANES, b"fine_labels": FINE, b"coarse_labels": [1] * COUNT}, 2)
    table = io.BytesIO()
    columns = {
        "img": [{"bytes": png(i)} for i in range(COUNT)],
        "fine_label": FINE,
        "coarse_label": [1] * COUNT,
    }
    parquet.write_table(pyarrow.table(columns), table)
    return {
        "python": ("cifar-100-python/test", pickled),
        "binary": ("cifar-100-binary/test.bin", coarse),
        "python archive": ("cifar-100-python.tar.gz", archive({"cifar-100-python/test": pickled})),
        "binary archive": ("cifar-100-binary.tar.gz", archive({"cifar-100-binary/test.bin": coarse})),
        "parquet": ("cifar100/test-00000-of-00001.parquet", table.getvalue()),
    }[kind]


@pytest.mark.parametrize("kind", ["python", "binary", "python archive", "binary archive", "parquet"])
def test_cifar100_is_read_with_its_fine_labels_and_is_not_taken_for_cifar10(tmp_path, kind):
    name, content = cifar100(kind)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    for place in (tmp_path, path):
        dataset = load_cifar100(place)
        assert [sample.label for sample in dataset.samples] == FINE
        assert (len(dataset.classes), len(dataset.templates)) == (100, 18)
        with pytest.raises(
            DatasetError, match="is CIFAR-100, not CIFAR-10: use `clipserve evaluate cifar100`"
        ):
            load_cifar10(place)


@pytest.mark.parametrize(("name", "content"), [("test_batch", batch()), ("test_batch.bin", records())])
def test_cifar10_is_not_taken_for_cifar100(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(
            DatasetError, match="is CIFAR-10, not CIFAR-100: use `clipserve evaluate cifar10`"
        ):
            load_cifar100(place)


def test_folders_of_cifar100_have_spaces_or_underscores(tmp_path):
    tree(tmp_path, "train/maple_tree/a.png", "train/aquarium fish/b.png")
    dataset = load_cifar100(tmp_path, "train")
    assert [dataset.classes[sample.label] for sample in dataset.samples] == ["aquarium fish", "maple tree"]
