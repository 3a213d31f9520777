from __future__ import annotations

import pytest
from clipserve.labels import LabelSet, label_set, to_label_set, vocabulary


def test_imagenet_has_its_thousand_classes_and_eighty_templates():
    found = vocabulary("imagenet1k")
    assert len(found.classes) == 1000
    assert len(found.templates) == 80
    assert found.classes[:2] == ("tench", "goldfish")
    assert found.classes[281] == "tabby cat"
    assert all(template.count("{}") == 1 for template in found.templates)


def test_cifar10_has_its_ten_classes_and_eighteen_templates():
    found = vocabulary("cifar10")
    assert found.classes[:3] == ("airplane", "automobile", "bird")
    assert len(found.templates) == 18


def test_label_sets_are_distinct():
    names = label_set("imagenet1k").names
    assert len(names) == len(set(names)) == 998
    assert label_set("cifar10").names == vocabulary("cifar10").classes


def test_unknown_sets_say_which_there_are():
    with pytest.raises(ValueError, match="there are cifar10, imagenet1k"):
        label_set("coco")


def test_lists_and_sets_of_labels_are_taken():
    assert to_label_set(["a", "b"]) == LabelSet(("a", "b"))
    assert to_label_set(("a",), ["{}!"], 0.5) == LabelSet(("a",), ("{}!",), (0.5,))
    cifar = label_set("cifar10")
    assert to_label_set(cifar) == cifar
    assert to_label_set(cifar, templates=["{}"]).templates == ("{}",)
    assert to_label_set(cifar, thresholds=0.2).thresholds == (0.2,) * 10


@pytest.mark.parametrize("labels", ["cat", [1, 2]])
def test_labels_that_are_no_list_of_str_are_refused(labels):
    with pytest.raises(TypeError):
        to_label_set(labels)
    with pytest.raises(TypeError):
        to_label_set(["a"], templates=labels)
