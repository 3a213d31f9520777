"""Labels that are the same text for the model, and truncated labels."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from clipserve.labels import NAMES, label_set
from clipserve_gateway.errors import DeadlineExceeded, ModelLoading
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inference.label_cache import LabelCache
from clipserve_gateway.inference.label_warnings import (
    WARNINGS,
    find_warnings,
    find_warnings_briefly,
    label_warnings,
)
from clipserve_gateway.inputs.openai_tokenizer import OpenAITokenizer
from clipserve_gateway.inputs.tokenizer import publish, withdraw
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import LabelSet, NoneOfTheAbove, TokenizerSpec, Tokens
from hypothesis import given
from hypothesis import strategies as st

from testing.domain import SOON
from testing.fakes import SPEC

PLAIN = ("a photo of a {}.",)
CLIP = TokenizerSpec(77)


def groups(*names: str, templates: tuple[str, ...] = PLAIN, context: int = 77) -> set[tuple[int, ...]]:
    warnings = label_warnings(LabelSet(names, templates), TokenizerSpec(context))
    return {warning.labels for warning in warnings if warning.reason == "same"}


@pytest.mark.parametrize(
    "names",
    [
        ("Cat", "cat", "CAT"),
        ("ice cream", "ice  cream", "ice\tcream", " ice cream\n"),
        ("café", unicodedata.normalize("NFD", "café")),
        ("rock & roll", "rock &amp; roll"),
        ("cat", "cat"),
        ("word " * 100 + "a", "word " * 100 + "b"),
        ("ICE CREAM", "ice cream"),
    ],
)
def test_labels_that_the_model_reads_alike_are_a_group(names: tuple[str, ...]) -> None:
    assert groups("dog", *names) == {tuple(range(1, len(names) + 1))}
    assert groups("dog", *names[:1]) == set()


def test_labels_that_differ_are_none() -> None:
    assert groups("cat", "cats", "a cat", "ice cream", "icecream", "café", "cafe", "it's", "its") == set()


@pytest.mark.parametrize("name", NAMES)
def test_the_label_sets_of_the_sdk_are_good(name: str) -> None:
    labels = label_set(name)
    assert label_warnings(LabelSet(labels.names, labels.templates), CLIP) == ()


def test_a_label_that_fits_in_no_template_but_the_shortest_is_still_its_own() -> None:
    long, short = "a photo of a very " * 4 + "large {}", "{}"
    names = ("word " * 70 + "a", "word " * 70 + "b")
    assert groups(*names, templates=(long, short)) == set()
    assert groups(*names, templates=(long,)) == {(0, 1)}


def test_labels_that_lose_their_end_are_told_with_the_context() -> None:
    labels = LabelSet(("cat", "word " * 80, "dog", "word " * 90), PLAIN)
    [cut, same] = label_warnings(labels, CLIP)
    assert (cut.reason, cut.labels) == ("cut", (1, 3))
    assert same.labels == (1, 3)
    assert "77 tokens" in cut.message
    assert len(cut.message) < 300
    [small] = label_warnings(LabelSet(("a b c d e f",), PLAIN), TokenizerSpec(8))
    assert small.labels == (0,)


def test_cut_prompts_of_none_of_the_above_are_told() -> None:
    none = NoneOfTheAbove("nothing", ("a photo.", "word " * 100))
    [warning] = label_warnings(LabelSet(("cat",), PLAIN, (), none), CLIP)
    assert (warning.reason, warning.labels) == ("cut", ())
    assert "'nothing'" in warning.message


def test_of_many_groups_the_last_warning_sums_up() -> None:
    names = [form for i in range(40) for form in (f"label {i}", f"LABEL {i}")]
    warnings = label_warnings(LabelSet(tuple(names), PLAIN), CLIP)
    assert len(warnings) == WARNINGS
    assert sorted(i for warning in warnings for i in warning.labels) == list(range(80))
    assert "25 more groups" in warnings[-1].message


async def test_the_search_for_warnings_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    long = LabelSet(tuple(f"{i} " + "é" * 1_000 for i in range(300)), PLAIN)
    with pytest.raises(DeadlineExceeded):
        await find_warnings(long, CLIP, Deadline.after(0.05))
    assert await find_warnings(LabelSet(("cat",), PLAIN), CLIP, SOON) == ()
    monkeypatch.setattr("clipserve_gateway.inference.label_warnings.BRIEF_SECONDS", 0.05)
    [warning] = await find_warnings_briefly(long, CLIP)
    assert "too long to check" in warning.message


class Letters:
    """A tokenizer of another process: one token for each letter and no special tokens; a dot is five."""

    safe_bytes = 0

    def __init__(self, context: int) -> None:
        self.executor = ThreadPoolExecutor(1)
        self.context = context
        self.threads: set[str] = set()

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        self.threads.add(threading.current_thread().name)
        ids = [[ord(letter) for letter in text.replace(".", ".....")] for text in texts]
        return [Tokens(np.array(row[: self.context], np.int32), len(row) > self.context) for row in ids]


LETTERS = TokenizerSpec(context_length=12, kind="huggingface", sha256="a" * 64)


@pytest.fixture
def letters() -> Iterator[Letters]:
    """Is published as LETTERS."""
    publish(LETTERS, letters := Letters(12))
    yield letters
    withdraw(LETTERS)


async def test_labels_of_a_model_with_its_own_tokenizer_are_checked_with_that_in_a_thread(letters: Letters):
    labels = LabelSet(("cat", "....", "elephants: cat", "elephants: dog", "Cat"), ("a {}",))
    warnings = await find_warnings(labels, LETTERS, SOON)
    assert [(warning.reason, warning.labels) for warning in warnings] == [
        ("cut", (1, 2, 3)),
        ("same", (2, 3)),
    ]
    assert "12 tokens" in warnings[0].message
    assert threading.current_thread().name not in letters.threads


async def test_labels_are_stored_with_a_message_while_the_tokenizer_is_not_loaded():
    with pytest.raises(ModelLoading):
        await find_warnings(LabelSet(("cat",), PLAIN), LETTERS, SOON)
    [warning] = await find_warnings_briefly(LabelSet(("cat",), PLAIN), LETTERS)
    assert (warning.reason, warning.labels) == ("", ())
    assert "not checked: the tokenizer of this model is not loaded" in warning.message


words = st.sampled_from(
    ["cat", "Cat", "dog", "a  cat", "a cat", "&amp;", "&", "é", "é", "ﬁ", "\u200b", "x " * 80]
)


@given(st.lists(words, min_size=1, max_size=6, unique=True), st.sampled_from([8, 77]))
def test_groups_are_those_whose_token_ids_are_equal(names: list[str], context: int) -> None:
    ids = [one.ids.tobytes() for one in OpenAITokenizer(context).encode([f"a {name}" for name in names])]
    wanted = {tuple(i for i, other in enumerate(ids) if other == one) for one in ids if ids.count(one) > 1}
    warnings = label_warnings(LabelSet(tuple(names), ("a {}",)), TokenizerSpec(context))
    assert {warning.labels for warning in warnings if warning.reason == "same"} == wanted


async def test_labels_of_one_group_have_the_same_embedding_and_are_told_with_it(embedder: Embedder) -> None:
    cache = LabelCache(embedder, 1 << 20, Metrics())
    entry = await cache.get(SPEC, LabelSet(("Cat", "dog", "cat "), PLAIN), SOON)
    np.testing.assert_allclose(entry.matrix[0], entry.matrix[2], atol=1e-6)
    assert [warning.labels for warning in entry.warnings] == [(0, 2)]
    assert (await cache.get(SPEC, LabelSet(("Cat", "dog", "cat "), PLAIN), SOON)).warnings == entry.warnings
