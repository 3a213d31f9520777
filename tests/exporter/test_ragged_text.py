"""The text tower's graph: any mix of lengths, and nothing in a batch harms its neighbors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from clipserve_exporter.ragged_text import RaggedText, TextEnd
from clipserve_exporter.source import Source
from clipserve_exporter.text_tower import END, VOCABULARY
from clipserve_exporter.torchscript import export_text
from torch import Tensor, nn

Narrow = Callable[..., Source]
START = END - 1


class Recorder(nn.Module):
    """Stands for a tower: gives back the tokens' sums and keeps the shapes it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L] → [B, 1]."""
        self.shapes.append(tuple(tokens.shape))
        return tokens.sum(dim=1, keepdim=True).float()


CLIP_END = TextEnd("highest", END)


def ragged_of(tower: nn.Module, split_tokens: int, end: TextEnd = CLIP_END, pad: int = 0) -> RaggedText:
    return RaggedText(tower, 77, split_tokens, end, VOCABULARY, pad)


def text(length: int, seed: int = 0) -> list[int]:
    rng = np.random.default_rng(seed)
    return [START, *rng.integers(1, START, length - 2).tolist(), END]


def laid_out(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows as Triton's ragged batches bring them."""
    flat = torch.tensor([token for row in rows for token in row], dtype=torch.int32)
    return flat, torch.tensor([[float(len(row))] for row in rows])


def eager(source: Source, rows: Sequence[Sequence[int]]) -> Tensor:
    whole = torch.zeros(len(rows), source.context_length, dtype=torch.int64)
    for row, tokens in zip(whole, rows, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return source.encode_text(whole)


def test_every_length_gives_the_embedding_of_the_full_length(narrow: Narrow) -> None:
    source = narrow()
    graph = export_text(source, "fp32")
    rows = [text(length, seed=length) for length in range(2, source.context_length + 1)]
    for row, expected in zip(rows, eager(source, rows), strict=True):
        torch.testing.assert_close(graph(*laid_out([row]))[0], expected, atol=2e-5, rtol=0)


def test_any_mix_of_lengths_in_any_order_keeps_its_order(narrow: Narrow) -> None:
    source = narrow()
    graph = export_text(source, "fp32")
    rng = np.random.default_rng(1)
    for _ in range(20):
        rows = [
            text(int(rng.integers(2, 78)), seed=int(rng.integers(1000))) for _ in range(rng.integers(1, 40))
        ]
        torch.testing.assert_close(graph(*laid_out(rows)), eager(source, rows), atol=2e-5, rtol=0)


def test_padding_inside_a_request_costs_nothing_and_changes_nothing() -> None:
    tower = Recorder()
    ragged = ragged_of(tower, split_tokens=0)
    padded = [text(5) + [0] * 72, text(5, seed=1) + [0] * 72]
    ragged(*laid_out(padded))
    assert tower.shapes == [(2, 5)]


@pytest.mark.parametrize(
    ("end", "pad", "row", "columns"),
    [
        pytest.param(TextEnd("token", 2), 1, [0, 5, 2, 9, 2, 1, 1], 3, id="the first end token"),
        pytest.param(TextEnd("token", 2), 1, [0, 5, 9, 1], 4, id="no end token"),
        pytest.param(TextEnd("padding", 1), 1, [0, 1, 9, 2, 1, 1], 4, id="padding at the end only"),
        pytest.param(TextEnd("padding", 0), 0, [0, 0, 0], 3, id="padding alone, as in Triton's warmup"),
        pytest.param(TextEnd("padding", 1), 1, [4], 1, id="one token"),
    ],
)
def test_the_tower_gets_the_columns_up_to_the_end(
    end: TextEnd, pad: int, row: list[int], columns: int
) -> None:
    tower = Recorder()
    ragged_of(tower, 0, end, pad)(*laid_out([row]))
    assert tower.shapes == [(1, columns)]


def test_shorter_texts_are_padded_with_the_padding_of_the_model() -> None:
    ragged = ragged_of(Recorder(), 64, TextEnd("padding", 9), pad=9)
    rows = ragged.rows(*laid_out([[3, 4, 5], [6]]))
    assert rows.tolist() == [[3, 4, 5], [6, 9, 9]]


def test_the_highest_id_of_a_large_vocabulary_is_kept() -> None:
    ragged = RaggedText(Recorder(), 64, 64, TextEnd("padding", 0), vocabulary=256_000)
    assert ragged.rows(*laid_out([[255_999, 256_000, -1]])).tolist() == [[255_999, 255_999, 0]]


def test_very_uneven_lengths_are_encoded_in_groups() -> None:
    tower = Recorder()
    ragged = ragged_of(tower, split_tokens=64)
    rows = [text(77), *(text(6, seed=i) for i in range(20)), text(30), text(31)]
    found = ragged(*laid_out(rows))
    assert sorted(tower.shapes) == [(1, 77), (2, 31), (20, 6)]
    assert found[:, 0].tolist() == [float(sum(row)) for row in rows]


def test_lengths_that_are_nearly_even_stay_together() -> None:
    tower = Recorder()
    ragged_of(tower, split_tokens=64)(*laid_out([text(8), text(9), text(12)]))
    assert tower.shapes == [(3, 12)]


def test_groups_never_cost_more_tokens_than_one_batch_and_at_most_three_passes() -> None:
    ragged = ragged_of(Recorder(), split_tokens=0)
    rng = np.random.default_rng(2)
    for _ in range(200):
        lengths = sorted(rng.integers(1, 78, rng.integers(1, 65)).tolist())
        bounds = ragged.groups(lengths, 64)
        assert bounds == sorted(set(bounds))
        assert (bounds[0], bounds[-1]) == (0, len(lengths))
        assert len(bounds) <= 4
        cost = sum((b - a) * lengths[b - 1] for a, b in itertools.pairwise(bounds))
        assert cost + 64 * (len(bounds) - 2) <= len(lengths) * lengths[-1]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param([START, 60_000, END], id="id above the vocabulary"),
        pytest.param([START, -5, END], id="negative id"),
        pytest.param(text(90), id="longer than the context"),
        pytest.param([], id="no token"),
        pytest.param([7] * 10, id="no end token"),
    ],
)
def test_what_does_not_belong_into_a_batch_leaves_its_neighbors_alone(narrow: Narrow, bad: list[int]) -> None:
    source = narrow()
    good = [text(9), text(20, seed=1)]
    found = export_text(source, "fp32")(*laid_out([good[0], bad, good[1]]))
    torch.testing.assert_close(found[[0, 2]], eager(source, good), atol=2e-5, rtol=0)


def test_an_end_token_inside_a_text_ends_it_as_open_clip_has_it(narrow: Narrow) -> None:
    source = narrow()
    row = [START, 5, END, 9, 9, END]
    torch.testing.assert_close(
        export_text(source, "fp32")(*laid_out([row])), eager(source, [row]), atol=2e-5, rtol=0
    )


def test_fixed_towers_take_any_batch(narrow: Narrow) -> None:
    source = narrow(text_cfg={"no_causal_mask": True, "context_length": 20})
    graph = export_text(source, "fp32")
    for batch in (1, 3, 17):
        tokens = torch.tensor([text(20, seed=i) for i in range(batch)])
        torch.testing.assert_close(
            graph(tokens.to(torch.int32)), source.encode_text(tokens), atol=2e-5, rtol=0
        )
