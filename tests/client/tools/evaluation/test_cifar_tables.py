"""Parquet and Arrow files of CIFAR-10: shards, columns, errors."""

from __future__ import annotations

import pyarrow
import pyarrow.ipc
import pytest
from client.dataset_files import batch, check, shard
from client.pictures import png
from clipserve.tools.evaluation.cifar import load_cifar10
from clipserve.tools.evaluation.dataset import DatasetError
from pyarrow import parquet


@pytest.mark.parametrize(
    "names",
    [
        ["plain_text/train-00000-of-00002.parquet", "plain_text/train-00001-of-00002.parquet"],
        ["train-00000-of-00002-a09b74b3ef9c3b56.parquet", "train-00001-of-00002-f3f2bc5e4bd9bc6f.parquet"],
        ["plain_text/train/0000.parquet", "plain_text/train/0001.parquet"],
        ["train_2.parquet", "train_10.parquet"],
    ],
)
def test_all_shards_are_read_in_order_and_counted(tmp_path, names):
    for i, name in enumerate(names):
        shard(tmp_path / name, 2 * i)
    shard(tmp_path / "plain_text" / "test-00000-of-00001.parquet", 8)
    dataset = load_cifar10(tmp_path, "train")
    assert [sample.label for sample in dataset.samples] == [0, 1, 2, 3]
    assert dataset.facts()["files_read"] == [name.split("/")[-1] for name in names]
    assert dataset.sentences()[:2] == [
        f"read 4 pictures of 4 classes from {', '.join(name.split('/')[-1] for name in names)}",
        "the published CIFAR-10 train has 50,000 pictures",
    ]
    assert [sample.label for sample in load_cifar10(tmp_path).samples] == [8, 9]


def test_a_missing_shard_and_several_sets_are_refused_by_name(tmp_path):
    first = shard(tmp_path / "train-00000-of-00003.parquet", 0)
    shard(tmp_path / "train-00002-of-00003.parquet", 2)
    with pytest.raises(DatasetError, match="has 2 of the 3 files of its train split"):
        load_cifar10(tmp_path, "train")
    assert len(load_cifar10(first).samples) == 2
    shard(tmp_path / "copy" / "train.parquet", 4)
    with pytest.raises(DatasetError, match=r"more than one set: copy/train.parquet, train-00000-of-00003"):
        load_cifar10(tmp_path, "train")
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "test_batch").write_bytes(batch())
    with pytest.raises(DatasetError, match=r"more than one set: a/test_batch, b/test_batch; name one"):
        load_cifar10(tmp_path)
    check(load_cifar10(tmp_path / "b"))


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (
            [{"bytes": None, "path": "x.png"}],
            [1],
            "column 'img' of row 0 names the file 'x.png' but does not",
        ),
        ([{"bytes": None, "path": None}], [1], "column 'img' of row 0 has no bytes"),
        ([None, None], [1, 2], "column 'img' of row 0 is empty"),
        (["x.png"], [1], "column 'img' of row 0 has type str"),
        ([b"x", b"x"], [1, None], "column 'label' of row 1 is empty"),
        ([b"x"], ["zebra"], "column 'label' of row 0 is 'zebra'"),
        ([b"x"], [1.5], "column 'label' of row 0 is 1.5"),
        ([b"x"], [10], "has label 10; CIFAR-10 has 0 to 9"),
    ],
)
def test_tables_that_do_not_fit_name_row_and_column(tmp_path, images, labels, text):
    parquet.write_table(pyarrow.table({"img": images, "label": labels}), tmp_path / "test.parquet")
    with pytest.raises(DatasetError, match=text):
        load_cifar10(tmp_path)


def test_pictures_may_be_a_column_of_bytes_and_labels_names(tmp_path):
    table = pyarrow.table({"image": [png(i) for i in range(2)], "label": ["cat", "ship"], "x": [1, 2]})
    parquet.write_table(table, tmp_path / "test.parquet")
    assert [(s.image, s.label) for s in load_cifar10(tmp_path).samples] == [(png(0), 3), (png(1), 8)]


@pytest.mark.parametrize("stream", [True, False])
def test_the_arrow_files_of_datasets_are_read(tmp_path, stream):
    table = pyarrow.table({"img": [{"bytes": png(0), "path": "a.png"}], "label": [6]})
    (tmp_path / "test").mkdir()
    path = tmp_path / "test" / "data-00000-of-00001.arrow"
    with (pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table)
    assert [(s.image, s.label) for s in load_cifar10(tmp_path).samples] == [(png(0), 6)]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match="not a readable Arrow file"):
        load_cifar10(tmp_path)
