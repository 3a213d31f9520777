"""Every layout of every set is read, and what is no set says so."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pyarrow
import pytest
from client.pictures import pixels, png, saved
from clipserve.evaluation.cifar10 import load_cifar10
from clipserve.evaluation.dataset import Dataset, DatasetError, Sample
from clipserve.evaluation.folder import load_folder
from clipserve.evaluation.imagenet import load_imagenet, synsets
from clipserve.files import find_images
from clipserve.labels import vocabulary
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


def test_splits_are_chosen(tmp_path):
    tree(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg")
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
