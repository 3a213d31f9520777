"""Every layout of every set is read, and what is no set says so."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile

import numpy as np
import pyarrow
import pyarrow.ipc
import pytest
from client.pictures import pixels, png, saved
from clipserve.inputs.picture_files import find_images
from clipserve.labels import vocabulary
from clipserve.tools.evaluation.cifar import load_cifar10, load_cifar100
from clipserve.tools.evaluation.dataset import Dataset, DatasetError, Sample
from clipserve.tools.evaluation.folder import load_folder
from clipserve.tools.evaluation.imagenet import load_imagenet, synsets
from PIL import Image
from pyarrow import parquet

COUNT = 4
IMAGES = np.stack([pixels(i, 32, 32) for i in range(COUNT)])
LABELS = [3, 0, 9, 3]
PLANES = IMAGES.transpose(0, 3, 1, 2).reshape(COUNT, 3072)


def batch(protocol=2):
    return pickle.dumps({b"data": PLANES, b"labels": LABELS, b"batch_label": b"x"}, protocol)


def records():
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(LABELS, PLANES, strict=True))


def check(dataset, images=IMAGES):
    assert [sample.label for sample in dataset.samples] == LABELS
    assert dataset.classes == vocabulary("cifar10").classes
    assert len(dataset.templates) == 18
    for sample, expected in zip(dataset.samples, images, strict=True):
        np.testing.assert_array_equal(sample.image, expected)


def archive(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


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
        found = {b"data": PLANES[:1], b"labels": [i]}
        (tmp_path / f"data_batch_{i}").write_bytes(pickle.dumps(found, 2))
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


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("test_batch", b"junk", "not a readable pickle"),
        ("test_batch", pickle.dumps([1, 2]), "holds no batch"),
        ("test_batch", pickle.dumps({"data": PLANES}), "data and labels are missing"),
        ("test_batch", pickle.dumps({"data": PLANES[:, :9], "labels": LABELS}), "is no CIFAR-10"),
        ("test_batch", pickle.dumps({"data": PLANES, "labels": [1, 2, 3, 10]}), "has label 10"),
        ("test_batch.bin", b"x" * 100, "no whole number of 3073-byte records"),
        ("test_batch.bin", b"", "no whole number"),
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
        ({"a": np.zeros(3)}, "holds a; expected jpeg"),
        ({"jpeg": np.zeros(5, np.uint8), "offset": [0, 9], "label": [1]}, "do not fit together"),
        ({"jpeg": np.zeros(5, np.uint8), "offset": [3, 1], "label": [1]}, "do not fit together"),
        ({"images": np.zeros((2, 9), np.uint8), "labels": [1, 2]}, "is no CIFAR-10"),
        ({"images": np.array([object()]), "labels": [1]}, "not a readable .npz"),
    ],
)
def test_archives_that_are_no_cifar10_say_why(tmp_path, arrays, text):
    np.savez(tmp_path / "test.npz", **arrays)
    with pytest.raises(DatasetError, match=text):
        load_cifar10(tmp_path)


def shard(path, start, count=2, **columns):
    """A Parquet file as Hugging Face writes them, with pictures `start` … and labels of the same numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [{"bytes": png(i), "path": None} for i in range(start, start + count)]
    table = {"img": files, "label": list(range(start, start + count))} | columns
    parquet.write_table(pyarrow.table(table), path)
    return path


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
        "CIFAR-10 train as published has 50,000 pictures",
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
            "column 'img' of row 0 names the file 'x.png' and does not",
        ),
        ([{"bytes": None, "path": None}], [1], "column 'img' of row 0 has no bytes"),
        ([None, None], [1, 2], "column 'img' of row 0 is empty"),
        (["x.png"], [1], "column 'img' of row 0 is of type str"),
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


def test_a_file_tells_its_split(tmp_path):
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}").write_bytes(batch())
    assert load_cifar10(tmp_path / "data_batch_2").name == "CIFAR-10 train"
    assert load_cifar10(shard(tmp_path / "train.parquet", 0)).name == "CIFAR-10 train"
    assert load_cifar10(shard(tmp_path / "other.parquet", 0)).name == "CIFAR-10 test"


def test_missing_paths_and_splits_say_so(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        load_cifar10(tmp_path / "missing")
    with pytest.raises(DatasetError, match="splits test and train"):
        load_cifar10(tmp_path, "val")


def tree(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"picture")


def test_folders_are_classes(tmp_path):
    tree(tmp_path, "golden_retriever/b.jpg", "golden_retriever/a.PNG", "cat/deep/c.webp", "cat/notes.txt")
    tree(tmp_path, ".hidden/d.jpg", "empty/readme.txt", "cat/.hidden.jpg")
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("cat", "golden retriever")
    assert [(s.name, s.label) for s in dataset.samples] == [
        ("cat/deep/c.webp", 0),
        ("golden_retriever/a.PNG", 1),
        ("golden_retriever/b.jpg", 1),
    ]


def test_a_class_whose_pictures_cannot_be_read_stays_a_class(tmp_path):
    """A measurement without its hardest class would say 100 %."""
    tree(tmp_path, "dog/a.jpg", "cat/deep/b.jpg", "docs/c.txt", "d.png", "__MACOSX/dog/._a.jpg", "e.txt")
    heic(tmp_path, "bird/a.HEIC", "bird/b.heic", "cat/c.heic")
    dataset = load_folder(tmp_path)
    assert dataset.classes == ("bird", "cat", "dog")
    assert [(s.name, s.label) for s in dataset.samples] == [("cat/deep/b.jpg", 1), ("dog/a.jpg", 2)]
    assert dataset.account.lost_classes == ("bird",)
    assert dataset.facts() == {
        "pictures_read": 2,
        "files_read": [],
        "classes_without_pictures": ["bird"],
        "folders_left_out": ["docs"],
        "passed_over": {"heic": 3, "txt": 2, "outside of the classes' folders": 1},
        "passed_over_folders": {"__MACOSX": 1},
    }
    assert dataset.sentences() == [
        "read 2 pictures of 2 classes",
        "classes without pictures, kept as labels: bird",
        "no classes of the set, left out: docs",
        "passed over: heic 3, txt 2, outside of the classes' folders 1; folders: __MACOSX 1; "
        "convert heic to JPEG or PNG",
    ]


def heic(root, *paths):
    tree(root, *paths)
    for path in paths:
        (root / path).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))


def test_folders_without_a_readable_picture_say_what_they_hold(tmp_path):
    heic(tmp_path, "bird/a.heic")
    with pytest.raises(DatasetError, match=r"no folders with pictures .*\(passed over: heic 1; convert heic"):
        load_folder(tmp_path)


def test_pictures_without_class_in_imagenet_are_told(tmp_path):
    tree(tmp_path, "n01440764/a.JPEG", "n99999999/d.JPEG")
    facts = load_imagenet(tmp_path).facts()
    assert facts["folders_left_out"] == ["n99999999"]
    assert len(facts["classes_without_pictures"]) == 999
    tree(tmp_path / "flat", "a.JPEG", "b.JPEG")
    (tmp_path / "flat" / "val.txt").write_text("b.JPEG 7\n")
    assert load_imagenet(tmp_path / "flat").facts()["passed_over"] == {"not in the list": 1, "txt": 1}


def test_splits_are_chosen(tmp_path):
    tree(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg", "__MACOSX/x", ".git/x")
    assert [s.name for s in load_folder(tmp_path).samples] == ["cat/b.jpg"]
    assert [s.name for s in load_folder(tmp_path, "train").samples] == ["cat/a.jpg"]
    with pytest.raises(DatasetError, match="no folder 'test'"):
        load_folder(tmp_path, "test")


def test_classes_can_be_named(tmp_path):
    tree(tmp_path / "data", "n1/a.jpg", "n2/b.jpg")
    names = tmp_path / "names.tsv"
    names.write_text("n2\ta dog, barking\nn1\tcat\n\n")
    assert load_folder(tmp_path / "data", names=names).classes == ("cat", "a dog, barking")
    names.write_text("n1,cat\n")
    with pytest.raises(DatasetError, match="no name for the folder 'n2'"):
        load_folder(tmp_path / "data", names=names)
    names.write_text("n1 cat\n")
    with pytest.raises(DatasetError, match=r"names.tsv:1: expected a folder and a name"):
        load_folder(tmp_path / "data", names=names)


def test_folders_without_classes_say_so(tmp_path):
    tree(tmp_path, "a.jpg")
    with pytest.raises(DatasetError, match="no folders with pictures"):
        load_folder(tmp_path)
    with pytest.raises(DatasetError, match="is no folder"):
        load_folder(tmp_path / "missing")


def test_imagenet_folders_are_named_by_identifier(tmp_path):
    tree(tmp_path, "n01440764/a.JPEG", "n15075141/b.JPEG", "n02123045/c.JPEG", "n99999999/d.JPEG")
    dataset = load_imagenet(tmp_path)
    assert len(dataset.classes) == 1000
    assert [(s.name, s.label) for s in dataset.samples] == [
        ("n01440764/a.JPEG", 0),
        ("n02123045/c.JPEG", 281),
        ("n15075141/b.JPEG", 999),
    ]
    assert dataset.classes[281] == "tabby cat"


def test_imagenets_own_split_is_val(tmp_path):
    tree(tmp_path, "test/a.JPEG", "train/n01440764/b.JPEG", "val/n01443537/c.JPEG")
    assert [s.label for s in load_imagenet(tmp_path).samples] == [1]
    assert [s.label for s in load_imagenet(tmp_path, "train").samples] == [0]


# The first ten validation pictures: what the challenge's ground truth says, and the classes of those.
GROUND_TRUTH = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164]
CLASSES = [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]
WNIDS = [wnid for label in CLASSES for wnid, i in synsets()[0].items() if i == label]


def lines(*rows):
    return "\n".join(map(str, rows)) + "\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ILSVRC2012_validation_ground_truth.txt", lines(*GROUND_TRUTH)),
        ("labels.txt", lines(*WNIDS)),
        ("labels.txt", lines(*CLASSES)),
        ("val.txt", lines(*(f"ILSVRC2012_val_{i:08}.JPEG {label}" for i, label in enumerate(CLASSES, 1)))),
        ("val.txt", lines(*(f"val/ILSVRC2012_val_{i:08}.JPEG {w}" for i, w in enumerate(WNIDS, 1)))),
        (
            "LOC_val_solution.csv",
            lines(
                "ImageId,PredictionString",
                *(f"ILSVRC2012_val_{i:08},{w} 1 2 3 4 {w} 5 6 7 8" for i, w in enumerate(WNIDS, 1)),
            ),
        ),
    ],
)
@pytest.mark.parametrize("beside", [True, False])
def test_the_flat_validation_set_is_read_with_any_list(tmp_path, name, text, beside):
    folder = tmp_path / "images"
    tree(folder, *(f"ILSVRC2012_val_{i:08}.JPEG" for i in range(1, 11)))
    (tmp_path / name if beside else folder / name).write_text(text)
    assert [s.label for s in load_imagenet(folder).samples] == CLASSES


def test_the_development_kit_is_found_and_pictures_bear_their_numbers(tmp_path):
    tree(tmp_path, "val/ILSVRC2012_val_00000003.JPEG", "val/ILSVRC2012_val_00000010.JPEG")
    kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text(lines(*GROUND_TRUTH))
    assert [s.label for s in load_imagenet(tmp_path / "val").samples] == [230, 332]


def test_pictures_that_a_list_leaves_out_are_left_out(tmp_path):
    tree(tmp_path, "a.JPEG", "b.JPEG")
    (tmp_path / "val.txt").write_text("b.JPEG 7\n")
    assert [(s.name, s.label) for s in load_imagenet(tmp_path).samples] == [("b.JPEG", 7)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("val.txt", "", "is empty"),
        ("val.txt", lines("n99999999", "n01440764"), "none of the 1,000"),
        ("val.txt", lines(5, 1001), "must be 0 to 999"),
        ("val.txt", lines(0, 1000), "must be 0 to 999"),
        ("ground_truth.txt", lines(0, 5), "cannot be 0"),
        ("val.txt", lines(1, 2, 3), "has 3 labels without names, but there are 2 pictures"),
    ],
)
def test_lists_that_do_not_fit_say_why(tmp_path, name, text, message):
    tree(tmp_path, "a.JPEG", "b.JPEG")
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=message):
        load_imagenet(tmp_path)


def test_no_list_and_no_pictures_say_so(tmp_path):
    with pytest.raises(DatasetError, match="--ground-truth"):
        load_imagenet(tmp_path)
    (tmp_path / "val.txt").write_text("a.JPEG 1\n")
    with pytest.raises(DatasetError, match="no pictures found"):
        load_imagenet(tmp_path)


def test_every_identifier_has_its_own_challenge_number():
    by_wnid, by_id = synsets()
    assert list(by_wnid) == sorted(by_wnid)
    assert sorted(by_wnid.values()) == sorted(by_id.values()) == list(range(1000))
    assert sorted(by_id) == list(range(1, 1001))


def test_a_limit_takes_samples_evenly():
    dataset = Dataset("x", ("a", "b"), [Sample(f"{i}", b"", i // 50) for i in range(100)])
    limited = dataset.limited(10)
    assert [s.name for s in limited.samples] == [str(i) for i in range(0, 100, 10)]
    assert dataset.limited(None) is dataset
    assert dataset.limited(500) is dataset


def test_pictures_are_found_by_name_and_in_order(tmp_path):
    tree(tmp_path, "b.jpg", "a/z.PNG", "a/b/c.tiff", "a.txt", ".hidden/x.jpg", "a/.x.jpg")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["b.jpg", "a/z.PNG", "a/b/c.tiff"]
