"""Sets with a folder for each class."""

from __future__ import annotations

import pytest
from client.dataset_files import tree
from clipserve.tools.evaluation.dataset import DatasetError
from clipserve.tools.evaluation.folder import load_folder
from clipserve.tools.picture_files import find_images


def heic(root, *paths):
    tree(root, *paths)
    for path in paths:
        (root / path).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))


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
        "classes without pictures, which remain as labels: bird",
        "folders that are not classes, skipped: docs",
        "skipped: heic 3, txt 2, outside of the classes' folders 1; folders: __MACOSX 1; "
        "convert heic to JPEG or PNG",
    ]


def test_folders_without_a_readable_picture_say_what_they_hold(tmp_path):
    heic(tmp_path, "bird/a.heic")
    with pytest.raises(DatasetError, match=r"no folders with pictures .*\(skipped: heic 1; convert heic"):
        load_folder(tmp_path)


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
    with pytest.raises(DatasetError, match="is not a folder"):
        load_folder(tmp_path / "missing")


def test_pictures_are_found_by_name_and_in_order(tmp_path):
    tree(tmp_path, "b.jpg", "a/z.PNG", "a/b/c.tiff", "a.txt", ".hidden/x.jpg", "a/.x.jpg")
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["b.jpg", "a/z.PNG", "a/b/c.tiff"]
