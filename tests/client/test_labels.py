from __future__ import annotations

import pytest
from clipserve.labels import LabelSet, NoneOfTheAbove, label_set, parse_ref, to_label_set, vocabulary
from clipserve.wire.label_sets import read_labels, write_labels


def test_imagenet_has_its_thousand_classes_and_eighty_templates():
    imagenet = vocabulary("imagenet1k")
    assert len(imagenet.classes) == 1000
    assert len(imagenet.templates) == 80
    assert imagenet.classes[:2] == ("tench", "goldfish")
    assert imagenet.classes[281] == "tabby cat"
    assert all(template.count("{}") == 1 for template in imagenet.templates)


def test_cifar10_has_its_ten_classes_and_eighteen_templates():
    cifar = vocabulary("cifar10")
    assert cifar.classes[:3] == ("airplane", "automobile", "bird")
    assert len(cifar.templates) == 18


def test_label_sets_are_distinct():
    names = label_set("imagenet1k").names
    assert len(names) == len(set(names)) == 998
    assert label_set("cifar10").names == vocabulary("cifar10").classes


def test_unknown_sets_say_which_there_are():
    with pytest.raises(ValueError, match="available are cifar10, imagenet1k"):
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


def test_none_of_the_above_stays_when_the_rest_is_given_apart():
    labels = LabelSet(("a", "b"), none_of_the_above=NoneOfTheAbove("none"))
    label_set = to_label_set(labels, ["{}!"], 0.5)
    assert label_set == LabelSet(("a", "b"), ("{}!",), (0.5, 0.5), NoneOfTheAbove("none"))
    assert read_labels(write_labels(label_set)) == label_set
    assert read_labels(write_labels(LabelSet(("a",)))) == LabelSet(("a",))


@pytest.mark.parametrize(
    ("text", "expected"), [("pets", ("pets", 0)), ("pets@3", ("pets", 3)), ("a.b-c@12", ("a.b-c", 12))]
)
def test_stored_label_sets_are_named_with_their_version(text, expected):
    assert parse_ref(text) == expected


@pytest.mark.parametrize(
    "text", ["", "@3", "pets@", "pets@0", "pets@-1", "pets@latest", "pets@²", "pets@9999999999"]
)
def test_references_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match="pets@3"):
        parse_ref(text)
