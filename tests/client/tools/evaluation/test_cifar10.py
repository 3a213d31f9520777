"""Every layout of CIFAR-10 is read."""

from __future__ import annotations

import gzip
import pickle

import numpy as np
import pyarrow
import pyarrow.ipc
import pytest
from client.dataset_files import COUNT, IMAGES, LABELS, PLANES, archive, batch, check, records, shard
from client.pictures import png, saved
from clipserve.labels import vocabulary
from clipserve.tools.evaluation.cifar import load_cifar10
from clipserve.tools.evaluation.dataset import DatasetError
from PIL import Image
from pyarrow import parquet


@pytest.mark.parametrize("place", ["", "cifar-10-batches-py", "data/cifar-10-batches-py"])
def test_python_batches_are_read_wherever_they_lie(tmp_path, place):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test_batch").write_bytes(batch())
    dataset = load_cifar10(tmp_path)
    check(dataset)
    assert dataset.samples[1].name == "test_batch[1]"
    check(load_cifar10(folder / "test_batch"))


def test_binary_batches_are_read(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(records())
    check(load_cifar10(tmp_path))
    check(load_cifar10(tmp_path / "test_batch.bin"))


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("cifar-10-python.tar.gz", {"cifar-10-batches-py/test_batch": batch()}),
        ("cifar-10-binary.tar.gz", {"cifar-10-batches-bin/test_batch.bin": records()}),
    ],
)
def test_archives_are_read_as_they_were_published(tmp_path, name, members):
    (tmp_path / name).write_bytes(archive({"readme.html": b"x", **members}))
    check(load_cifar10(tmp_path))
    check(load_cifar10(tmp_path / name))


def test_all_five_training_batches_are_read_in_order(tmp_path):
    for i in range(1, 6):
        contents = {b"data": PLANES[:1], b"labels": [i]}
        (tmp_path / f"data_batch_{i}").write_bytes(pickle.dumps(contents, 2))
    dataset = load_cifar10(tmp_path, "train")
    assert [sample.label for sample in dataset.samples] == [1, 2, 3, 4, 5]
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(DatasetError, match="has 4 of the 5 train batches"):
        load_cifar10(tmp_path, "train")


def test_jpeg_archives_are_read(tmp_path):
    files = [saved(Image.fromarray(image), "JPEG") for image in IMAGES]
    np.savez(
        tmp_path / "cifar10_test_jpeg.npz",
        jpeg=np.frombuffer(b"".join(files), np.uint8),
        offset=np.cumsum([0] + [len(file) for file in files]),
        label=np.array(LABELS, np.uint8),
    )
    dataset = load_cifar10(tmp_path)
    assert [sample.image for sample in dataset.samples] == files
    assert [sample.label for sample in dataset.samples] == LABELS


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_test": IMAGES, "y_test": np.array(LABELS)[:, None]},
        {"images": PLANES, "labels": np.array(LABELS)},
        {"images": PLANES.reshape(COUNT, 3, 32, 32), "labels": np.array(LABELS, np.uint8)},
    ],
)
def test_archives_of_arrays_are_read(tmp_path, arrays):
    np.savez(tmp_path / "cifar10-test.npz", **arrays)
    check(load_cifar10(tmp_path))


def test_parquet_is_read(tmp_path):
    files = [png(i) for i in range(COUNT)]
    table = pyarrow.table({"img": [{"bytes": file, "path": None} for file in files], "label": LABELS})
    parquet.write_table(table, tmp_path / "test-00000-of-00001.parquet")
    dataset = load_cifar10(tmp_path)
    assert [sample.image for sample in dataset.samples] == files
    assert [sample.label for sample in dataset.samples] == LABELS


@pytest.mark.parametrize("place", ["", "test"])
def test_a_folder_for_each_class_is_cifar10_too(tmp_path, place):
    for i, label in enumerate(LABELS):
        folder = tmp_path / place / vocabulary("cifar10").classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.png").write_bytes(png(i))
    dataset = load_cifar10(tmp_path)
    assert sorted(sample.label for sample in dataset.samples) == sorted(LABELS)
    assert dataset.samples[0].name == "airplane/1.png"


@pytest.mark.parametrize("suffix", [".gz", ".pkl", ".pickle.gz", ".bin.gz", ""])
def test_batches_may_be_compressed_or_have_a_suffix(tmp_path, suffix):
    content = records() if ".bin" in suffix else batch()
    packed = suffix.endswith(".gz") or not suffix  # what was unpacked by name only
    (tmp_path / f"test_batch{suffix}").write_bytes(gzip.compress(content) if packed else content)
    check(load_cifar10(tmp_path))
    check(load_cifar10(tmp_path / f"test_batch{suffix}"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_pickled_labels_may_be_numbers_of_numpy(tmp_path, protocol, kind):
    content = pickle.dumps({"data": list(PLANES), "labels": [kind(label) for label in LABELS]}, protocol)
    (tmp_path / "test_batch").write_bytes(content)
    check(load_cifar10(tmp_path))


def test_the_archive_of_keras_is_read_from_a_folder(tmp_path):
    arrays = {"x_train": IMAGES[:1], "y_train": np.array([[7]]), "x_test": IMAGES, "y_test": np.array(LABELS)}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    check(load_cifar10(tmp_path))
    check(load_cifar10(tmp_path / "cifar10.npz"))
    assert [sample.label for sample in load_cifar10(tmp_path, "train").samples] == [7]


def test_numbered_archives_of_arrays_are_one_set_and_versions_are_not(tmp_path):
    for i in (0, 1):
        np.savez(
            tmp_path / f"test_{i}.npz", images=IMAGES[2 * i : 2 * i + 2], labels=LABELS[2 * i : 2 * i + 2]
        )
    check(load_cifar10(tmp_path))
    for i in (1, 2):
        np.savez(tmp_path / f"train_v{i}.npz", images=IMAGES, labels=LABELS)
    with pytest.raises(DatasetError, match=r"more than one set: train_v1.npz, train_v2.npz"):
        load_cifar10(tmp_path, "train")


@pytest.mark.parametrize(
    ("images", "labels"), [("cifar10.1_v6_data.npy", "cifar10.1_v6_labels.npy"), ("x_test.npy", "y_test.npy")]
)
def test_pairs_of_arrays_are_read(tmp_path, images, labels):
    np.save(tmp_path / images, IMAGES)
    np.save(tmp_path / labels, np.array(LABELS))
    dataset = load_cifar10(tmp_path)
    check(dataset)
    check(load_cifar10(tmp_path / images))
    assert dataset.name == ("CIFAR-10.1 v6" if "10.1" in images else "CIFAR-10 test")
    (tmp_path / labels).unlink()
    with pytest.raises(DatasetError, match="has no file of labels beside it"):
        load_cifar10(tmp_path / images)


def test_cifar10_1_has_two_versions_and_no_training_pictures(tmp_path):
    for version in ("v4", "v6"):
        np.save(tmp_path / f"cifar10.1_{version}_data.npy", IMAGES)
        np.save(tmp_path / f"cifar10.1_{version}_labels.npy", np.array(LABELS))
    with pytest.raises(DatasetError, match=r"more than one set: cifar10\.1_v4_data\.npy"):
        load_cifar10(tmp_path)
    assert load_cifar10(tmp_path / "cifar10.1_v4_data.npy").account.expected == 2_021
    (tmp_path / "cifar10.1_v4_data.npy").unlink()
    with pytest.raises(DatasetError, match=r"no train split, but cifar10\.1_v6_data\.npy: --split test"):
        load_cifar10(tmp_path, "train")


def test_a_file_tells_its_split(tmp_path):
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}").write_bytes(batch())
    assert load_cifar10(tmp_path / "data_batch_2").name == "CIFAR-10 train"
    assert load_cifar10(shard(tmp_path / "train.parquet", 0)).name == "CIFAR-10 train"
    assert load_cifar10(shard(tmp_path / "other.parquet", 0)).name == "CIFAR-10 test"
