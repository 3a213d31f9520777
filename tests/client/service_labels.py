"""Cases of stored label sets and of none_of_the_above. See service_cases.py."""

from __future__ import annotations

import math

import clipserve
import numpy as np
import pytest
from client.pictures import png
from client.service_support import (
    CLOSE,
)
from clipserve import LabelSet, NoneOfTheAbove


class LabelSetCases:
    """Cases for a server at `address`."""

    def test_label_sets_are_kept_under_names(self, service, new_name):
        name = new_name()
        labels = LabelSet(
            ("cat", "dog"),
            ("a photo of a {}.", "{}!"),
            (0.25, 0.5),
            NoneOfTheAbove("nothing", ("a photo.",), 0.125),
        )
        info, created = service.put_label_set(name, labels)
        assert created
        assert (info.name, info.version, info.label_count, info.template_count) == (name, 1, 2, 2)
        assert info.none_of_the_above
        assert info.versions == (1,)
        stored = service.get_label_set(name)
        assert stored.labels == labels
        assert stored.info == info
        assert info in service.list_label_sets()

    def test_label_sets_have_versions(self, service, new_name):
        name = new_name()
        first, _ = service.put_label_set(name, ["cat", "dog"])
        again, created = service.put_label_set(name, ["cat", "dog"])
        assert (again, created) == (first, False)
        second, created = service.put_label_set(name, ["dog", "cat"])
        assert (second.version, second.versions, created) == (2, (1, 2), True)
        assert second.content_hash != first.content_hash
        assert service.get_label_set(name).labels.names == ("dog", "cat")
        assert service.get_label_set(name, 1).labels.names == ("cat", "dog")
        assert service.delete_label_set(name, 2) == 1
        assert service.get_label_set(name).info.version == 1
        third, _ = service.put_label_set(name, ["bird"])
        assert third.version == 3, "a number is never given twice"
        assert service.delete_label_set(name) == 2
        with pytest.raises(clipserve.LabelSetNotFound):
            service.get_label_set(name)
        with pytest.raises(clipserve.LabelSetNotFound):
            service.delete_label_set(name)

    def test_pictures_are_classified_by_stored_label_sets(self, service, new_name):
        name, templates = new_name(), ["a photo of a {}.", "a {}"]
        service.put_label_set(name, ["cat", "dog", "car"], templates=templates, thresholds=[-1, 1, -1])
        service.put_label_set(name, ["tree"])
        pictures = [png(i) for i in range(3)]
        kept = service.classify(pictures, label_set=f"{name}@1")
        given = service.classify(
            pictures, ["cat", "dog", "car"], templates=templates, thresholds=[-1.0, 1.0, -1.0]
        )
        assert kept.label_set == f"{name}@1"
        assert given.label_set is None
        for one, other in zip(kept, given, strict=True):
            assert [score.label for score in one.scores] == [score.label for score in other.scores]
            np.testing.assert_allclose(
                [s.cosine for s in one.scores], [s.cosine for s in other.scores], atol=CLOSE
            )
            assert {score.label: score.above_threshold for score in one.scores}["dog"] is False
        latest = service.classify(pictures, label_set=name)
        assert latest.label_set == f"{name}@2"
        assert latest[0].label == "tree"
        with pytest.raises(clipserve.LabelSetNotFound):
            service.classify(pictures, label_set=f"{name}@9")
        with pytest.raises(clipserve.LabelSetNotFound):
            service.classify(pictures, label_set=f"{name}-missing")

    def test_label_sets_that_cannot_be_are_not_kept(self, service, new_name):
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.put_label_set(new_name(), ["cat", "cat"])
        assert caught.value.field == "labels.names[1]"
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.put_label_set("no/name", ["cat"])
        assert caught.value.field == "name"
        none = NoneOfTheAbove("cat")
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.put_label_set(new_name(), LabelSet(("cat",), none_of_the_above=none))
        assert caught.value.field == "labels.none_of_the_above.name"

    def test_none_of_the_above_is_one_more_answer(self, service):
        plain = service.classify([png(1)], LabelSet(("cat", "dog"), none_of_the_above=NoneOfTheAbove()))
        scores = {score.index: score for score in plain[0].scores}
        assert sorted(scores) == [0, 1, 2]
        assert scores[2].label == "none of the above"
        assert math.isclose(sum(score.probability for score in scores.values()), 1, abs_tol=1e-4)
        none = NoneOfTheAbove("nothing", ("a photo of a cat.",), -1.0)
        named = service.classify(
            [png(1)], LabelSet(("cat", "dog"), ("a photo of a {}.",), (1.0, 1.0), none), mode="independent"
        )
        scores = {score.label: score for score in named[0].scores}
        assert abs(scores["nothing"].cosine - scores["cat"].cosine) < CLOSE
        assert scores["nothing"].above_threshold is True
        assert scores["cat"].above_threshold is False

    def test_labels_that_are_the_same_to_the_model_or_too_long_are_told(self, service, new_name):
        long = "word " * 100
        names = ["Cat", "dog", "cat ", "CAT", long + "a", long + "b"]
        with pytest.warns(clipserve.LabelsWarning) as warned:
            result = service.classify([png(1)], names, top_k=6)
        assert len(result[0].scores) == 6
        assert {(warning.reason, warning.labels, warning.count) for warning in result.warnings} == {
            ("same", (0, 2, 3), 3),
            ("same", (4, 5), 2),
            ("cut", (4, 5), 2),
        }
        assert [str(one.message) for one in warned] == [warning.message for warning in result.warnings]
        with pytest.warns(clipserve.LabelsWarning):
            info, _ = service.put_label_set(new_name(), names)
        assert info.warnings == result.warnings
        with pytest.warns(clipserve.LabelsWarning):
            assert service.classify([png(1)], label_set=info.name).warnings == result.warnings

    def test_good_labels_give_no_warning(self, service, recwarn):
        assert service.classify([png(1)], ["cat", "dog"]).warnings == ()
        assert not recwarn.list

    @pytest.mark.parametrize("template", ["{{}}", "a {} {x}", "a {", "{} {}", "a photo", "{label}"])
    def test_templates_have_one_place_for_the_label_and_no_other_braces(self, service, template):
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.classify([png(1)], ["cat"], templates=["a {}", template])
        assert caught.value.field == "labels.templates[1]"

    def test_labels_with_a_nul_are_refused(self, service):
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.classify([png(1)], ["dog", "c\0a\0t\0"])
        assert caught.value.field == "labels.names[1]"

    def test_labels_are_prepared_ahead_and_then_known(self, service, new_name):
        name = new_name()
        names, templates = [f"{name} {i}" for i in range(30)], ["a {}", "the {}"]
        seen = []
        encoded = service.prepare_labels(
            names, templates=templates, progress=lambda done, total: seen.append((done, total))
        )
        assert encoded == 60
        assert seen[-1] == (60, 60)
        assert seen == sorted(seen)
        assert service.prepare_labels(names, templates=templates) == 0
        service.put_label_set(name, names, templates=templates)
        assert service.prepare_labels(label_set=name) == 0
        assert service.prepare_labels(names, templates=["one {}"]) == 30
        with pytest.raises(clipserve.LabelSetNotFound):
            service.prepare_labels(label_set=f"{name}-missing")
        with pytest.raises(clipserve.InvalidInput) as caught:
            service.prepare_labels(["cat", ""])
        assert caught.value.field == "labels.names[1]"
