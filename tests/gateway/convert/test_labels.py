from __future__ import annotations

import dataclasses
import datetime as dt
import math

import pytest
from clipserve.v1 import clip_pb2
from clipserve_gateway.collection.label_sets import StoredLabelSet
from clipserve_gateway.convert.clip import read_classify
from clipserve_gateway.convert.labels import (
    BRACE,
    CONTROL,
    NONE_NAME,
    read_label_set_ref,
    read_labels,
    read_name,
    write_info,
    write_labels,
    write_warning,
)
from clipserve_gateway.errors import InvalidInput, LimitExceeded
from clipserve_gateway.inference.label_warnings import LabelWarning
from clipserve_gateway.inputs.clean_text import without_entities
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import LabelSetRef, NoneOfTheAbove
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Settings().limits
None_ = clip_pb2.NoneOfTheAbove


def labels(*names: str, **rest) -> clip_pb2.LabelSet:
    return clip_pb2.LabelSet(names=names, **rest)


def test_none_of_the_above_has_a_name_and_prompts_of_its_own():
    assert read_labels(labels("cat"), LIMITS).none_of_the_above is None
    default = read_labels(labels("cat", none_of_the_above=None_()), LIMITS).none_of_the_above
    assert default == NoneOfTheAbove(NONE_NAME, (), 0.0)
    given = None_(name="nothing", prompts=["a photo."], threshold=0.25)
    none = read_labels(labels("cat", none_of_the_above=given), LIMITS).none_of_the_above
    assert none == NoneOfTheAbove("nothing", ("a photo.",), 0.25)


@pytest.mark.parametrize(
    ("none", "field"),
    [
        (None_(name="cat"), "name"),
        (None_(prompts=["a photo of a {}."]), "prompts[0]"),
        (None_(prompts=["a photo.", "a {label}"]), "prompts[1]"),
        (None_(prompts=["a\0"]), "prompts[0]"),
        (None_(name="no\x1bne"), "name"),
        (None_(prompts=["a"] * 101), "prompts"),
        (None_(threshold=math.nan), "threshold"),
        (None_(threshold=2), "threshold"),
    ],
)
def test_a_bad_none_of_the_above_names_the_field(none, field):
    with pytest.raises(InvalidInput) as caught:
        read_labels(labels("cat", none_of_the_above=none), LIMITS)
    assert caught.value.field == f"labels.none_of_the_above.{field}"


def test_what_is_written_reads_back_the_same():
    read = read_labels(
        labels("cat", "dog", templates=["{}"], thresholds=[0.5, -1], none_of_the_above=None_()), LIMITS
    )
    assert read_labels(write_labels(read), LIMITS) == read
    plain = read_labels(labels("cat"), LIMITS)
    assert read_labels(write_labels(plain), LIMITS) == plain


@pytest.mark.parametrize(
    "template",
    [
        *("", "a photo", "{} {}", "{{}}", "a {} {x}", "{label}", "a {", "} {}", "{}{", "{0}", "a {}\0"),
        *(
            "｛｝ {}",
            "{} ｛",
            "﹛﹜ {}",
            "&#123;&#125; {}",
            "{} &lbrace;",
            "{} &LCUB;",
            "{} &amp;amp;#x7B;",
        ),
    ],
)
def test_templates_have_one_place_and_no_other_braces(template):
    with pytest.raises(InvalidInput) as caught:
        read_labels(labels("cat", templates=["{}", template]), LIMITS)
    assert caught.value.field == "labels.templates[1]"


@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_taken_for_a_template_holds_the_label_as_it_is(before, after):
    template = f"{before}{{}}{after}"
    try:
        read = read_labels(labels("cat", templates=[template]), LIMITS)
    except InvalidInput:
        assert BRACE.search(without_entities(f"{before} {after}")) or CONTROL.search(template)
    else:
        assert read.templates[0].replace("{}", "cat") == f"{before}cat{after}"
        assert not {"{", "}"} & {*before, *after}


@pytest.mark.parametrize("name", ["c\0a\0t\0", "\x1b[1mcat", "cat\x7f", "\x9bcat"])
def test_labels_have_no_control_characters(name):
    with pytest.raises(InvalidInput, match="control character") as caught:
        read_labels(labels("dog", name), LIMITS)
    assert caught.value.field == "labels.names[1]"


BLANK = [
    *(
        "",
        " ",
        "\u3000",
        "&nbsp;",
        " &nbsp &#32;",
        "&#x20;",
        "&NBSP;",
        "&amp;amp;nbsp;",
        "&shy;",
        "&zwj;",
        "&NewLine;",
    ),
    *("\u200b", "\ufeff", "\u2060\u200d", "\u202e", "\u2800", "\u3164", "\ufe0f", "&ZeroWidthSpace;"),
]


@pytest.mark.parametrize("name", BLANK)
def test_a_label_of_which_nothing_is_to_be_seen_is_refused(name):
    with pytest.raises(InvalidInput, match="a label must not be empty") as caught:
        read_labels(labels("dog", name), LIMITS)
    assert caught.value.field == "labels.names[1]"


@pytest.mark.parametrize(
    "name", ["&", "&amp;", "AT&T", "R&D;", "&#9731;", "&eacute;", "❤\ufe0f", "\u200bcat", "&cat", "."]
)
def test_a_label_of_which_anything_is_to_be_seen_is_taken(name):
    assert read_labels(labels("dog", name), LIMITS).names == ("dog", name)


@pytest.mark.parametrize("prompt", ["a ｛", "a &#123;"])
def test_prompts_of_none_of_the_above_have_no_braces_of_any_kind(prompt):
    with pytest.raises(InvalidInput, match="without braces"):
        read_labels(labels("cat", none_of_the_above=None_(prompts=[prompt])), LIMITS)


@pytest.mark.parametrize("name", ["ice\tcream", "two\nlines", "a\u200bb", "\u202ex", "🐕", "a\u00a0b"])
def test_labels_may_have_white_space_and_any_letters(name):
    assert read_labels(labels(name), LIMITS).names == (name,)


def test_warnings_name_the_first_labels_and_count_all():
    warning = LabelWarning("same", tuple(range(40)), "they are the same")
    written = write_warning(warning)
    assert (list(written.labels), written.count) == (list(range(16)), 40)
    assert written.reason == clip_pb2.LABEL_WARNING_REASON_SAME
    assert written.message == "they are the same"


@pytest.mark.parametrize("name", ["pets", "_", "a.b-c_9", "A" * 128])
def test_names_of_label_sets(name):
    assert read_name(name, "name") == name


@pytest.mark.parametrize("name", ["", "9a", "a/b", "a b", "é", "A" * 129, "-a", "a\n"])
def test_what_is_no_name_of_a_label_set(name):
    with pytest.raises(InvalidInput) as caught:
        read_label_set_ref(clip_pb2.LabelSetRef(name=name), "label_set")
    assert caught.value.field == "label_set.name"


def test_a_classify_has_labels_of_its_own_or_names_a_label_set():
    images = [{"content": b"a"}]
    ref = clip_pb2.LabelSetRef(name="pets", version=2)
    call = read_classify(clip_pb2.ClassifyRequest(images=images, label_set=ref), LIMITS)
    assert (call.labels, call.label_set_ref) == (None, LabelSetRef("pets", 2))
    with pytest.raises(InvalidInput) as caught:
        read_classify(clip_pb2.ClassifyRequest(images=images, label_set=ref, labels=labels("a")), LIMITS)
    assert caught.value.field == "label_set"


def test_what_is_known_of_a_label_set_leaves_out_the_labels():
    kept = read_labels(labels("cat", "dog", none_of_the_above=None_()), LIMITS)
    now = dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)
    info = write_info(StoredLabelSet(LabelSetRef("pets", 3), kept, "hash", now, (1, 3)))
    assert (info.ref.name, info.ref.version, info.label_count, info.template_count) == ("pets", 3, 2, 1)
    assert (info.none_of_the_above, info.content_hash, info.versions) == (True, "hash", [1, 3])


def test_prompts_together_are_no_longer_than_a_message():
    given = labels("ab", "ë", templates=["a {}", "the {}"])
    size = (2 + 2) * 2 + (4 + 6) * 2
    assert read_labels(given, dataclasses.replace(LIMITS, max_message_bytes=size))
    with pytest.raises(LimitExceeded) as caught:
        read_labels(given, dataclasses.replace(LIMITS, max_message_bytes=size - 1))
    assert (caught.value.field, caught.value.metadata) == ("labels.templates", {"limit": "27"})
