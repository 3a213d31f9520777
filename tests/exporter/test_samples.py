"""The inputs of comparisons: different from each other, and of the model's whole vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from clipserve_exporter.parity import likeness
from clipserve_exporter.samples import Texts, pictures
from clipserve_exporter.source import Source
from clipserve_exporter.text_tower import END
from clipserve_exporter.tokenizer_facts import TokenizerFacts
from torch import from_numpy

Narrow = Callable[..., Source]


def test_no_two_pictures_are_alike() -> None:
    found = from_numpy(pictures(np.random.default_rng(0), 7, 24, 32)).float().flatten(1)
    assert len(found.unique(dim=0)) == 7
    assert likeness(found - found.mean()) < 0.5


def test_texts_have_the_highest_ids_of_a_large_vocabulary(narrow_tower: Narrow) -> None:
    source = narrow_tower(text_cfg={"vocab_size": 60_000, "no_causal_mask": True, "pool_type": "last"})
    rows = Texts(source).rows(np.random.default_rng(0), [5, 9])
    assert all({59_999, 59_998} <= set(row.tolist()) for row in rows)


def test_texts_of_openais_tokenizer_have_one_end_token_at_the_end(narrow_tower: Narrow) -> None:
    texts = Texts(narrow_tower())
    rows = texts.rows(np.random.default_rng(0), [0, 2, 9, 300])
    assert [len(row) for row in rows] == [2, 2, 9, 77]
    assert all((row == END).nonzero().flatten().tolist() == [len(row) - 1] for row in rows)


def test_texts_hold_the_end_token_that_pooling_looks_for_and_no_padding(narrow_tower: Narrow) -> None:
    source = narrow_tower(text_cfg={"vocab_size": 50, "pool_type": "eos", "eos_id": 2})
    texts = Texts(replace(source, tokenizer=TokenizerFacts(pad_id=49)))
    for row in texts.rows(np.random.default_rng(0), range(1, 60)):
        assert (row == 2).nonzero().flatten().tolist() == [len(row) - 1]
        assert not (row == 49).any()
        assert int(row.max()) < 50


def test_padding_follows_the_text(narrow_tower: Narrow) -> None:
    source = replace(narrow_tower(), tokenizer=TokenizerFacts(pad_id=3))
    texts = Texts(source)
    rows = texts.rows(np.random.default_rng(0), [2, 4])
    whole = texts.padded(rows, 6)
    assert whole[0, 2:].tolist() == [3] * 4
    assert whole[1, :4].tolist() == rows[1].tolist()
