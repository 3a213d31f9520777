"""ImageNet by folders, and the flat validation set with its list of labels."""

from __future__ import annotations

import pytest
from client.dataset_files import tree
from clipserve.tools.evaluation.dataset import DatasetError
from clipserve.tools.evaluation.imagenet import load_imagenet, synsets

# The first ten validation pictures: what the challenge's ground truth says, and the classes of those.
GROUND_TRUTH = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164]


CLASSES = [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]

WNIDS = [wnid for label in CLASSES for wnid, i in synsets()[0].items() if i == label]


def lines(*rows):
    return "\n".join(map(str, rows)) + "\n"


def test_pictures_without_class_in_imagenet_are_told(tmp_path):
    tree(tmp_path, "n01440764/a.JPEG", "n99999999/d.JPEG")
    facts = load_imagenet(tmp_path).facts()
    assert facts["folders_left_out"] == ["n99999999"]
    assert len(facts["classes_without_pictures"]) == 999
    tree(tmp_path / "flat", "a.JPEG", "b.JPEG")
    (tmp_path / "flat" / "val.txt").write_text("b.JPEG 7\n")
    assert load_imagenet(tmp_path / "flat").facts()["passed_over"] == {"not in the list": 1, "txt": 1}


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


def test_a_list_that_may_belong_to_another_folder_is_not_taken(tmp_path):
    tree(tmp_path, "mine/a.JPEG", "mine/b.JPEG", "val/c.JPEG", "val/d.JPEG")
    (tmp_path / "val.txt").write_text(lines(1, 2))
    (tmp_path / "labels.txt").write_text(lines(3, 4))
    with pytest.raises(DatasetError, match="--ground-truth"):
        load_imagenet(tmp_path / "mine")
    dataset = load_imagenet(tmp_path / "val")
    assert [s.label for s in dataset.samples] == [1, 2]
    assert dataset.sentences()[0] == f"read 2 pictures of 2 classes, labels from {tmp_path / 'val.txt'}"
    (tmp_path / "val.txt").unlink()
    (tmp_path / "mine_labels.txt").write_text(lines(5, 6))
    assert [s.label for s in load_imagenet(tmp_path / "mine").samples] == [5, 6]
    with pytest.raises(DatasetError, match="--ground-truth"):
        load_imagenet(tmp_path / "val")


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
        ("val.txt", lines("n99999999", "n01440764"), "not the identifier of one of the 1,000"),
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
