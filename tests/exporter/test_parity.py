"""Parity with open_clip: what the report measures, and that it would notice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
import torch
from clipserve_exporter.parity import BOUNDS, Case, compare, image_cases, text_cases
from clipserve_exporter.source import Source, load
from clipserve_exporter.torchscript import export_image, export_text
from torch import Tensor

Narrow = Callable[..., Source]


def worst(cases: Iterable[Case]) -> Case:
    return min(cases, key=lambda case: case.min_cosine)


@pytest.mark.parametrize(
    "architecture", ["demo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ViT-B-32", "RN50"))]
)
def test_models_of_real_size_are_exported_exactly(architecture: str) -> None:
    torch.set_num_threads(2)
    source = load(architecture)
    image = list(image_cases(source, export_image(source, "fp32"), "fp32", batches=(1, 3)))
    text = list(text_cases(source, export_text(source, "fp32"), "fp32"))
    assert min(case.min_cosine for case in image + text) >= 0.99999
    torch.set_num_threads(1)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_keeps_its_bound(narrow: Narrow, precision: str) -> None:
    source = narrow()
    image = worst(image_cases(source, export_image(source, precision), precision))
    text = worst(text_cases(source, export_text(source, precision), precision))
    assert image.good, image
    assert text.good, text
    assert image.bound == BOUNDS[precision]


def test_the_cases_cover_batch_sizes_and_text_lengths(narrow: Narrow) -> None:
    source = narrow()
    shapes: list[tuple[int, ...]] = []

    def image(pixels: Tensor) -> Tensor:
        shapes.append(tuple(pixels.shape))
        return torch.zeros(len(pixels), source.embed_dim)

    def text(flat: Tensor, lengths: Tensor) -> Tensor:
        shapes.append(tuple(sorted({int(n) for n in lengths})))
        assert flat.numel() == lengths.sum()
        return torch.zeros(len(lengths), source.embed_dim)

    for case in [*image_cases(source, image, "fp32"), *text_cases(source, text, "fp32")]:
        assert not case.good, "zeros are no embedding"
    assert {shape[0] for shape in shapes if len(shape) == 4} == {1, 2, 5}
    lengths = [shape for shape in shapes if len(shape) != 4 or shape[-1] != 3]
    assert (2,) in lengths
    assert (77,) in lengths
    assert any(len(shape) > 4 for shape in lengths)


def test_a_text_tower_that_reads_the_wrong_place_is_noticed(narrow: Narrow) -> None:
    source = narrow()
    graph = export_text(source, "fp32")

    def shifted(flat: Tensor, lengths: Tensor) -> Tensor:
        return graph(flat.roll(1), lengths)

    assert not worst(text_cases(source, shifted, "fp32")).good


def test_pixels_in_the_wrong_order_are_noticed(narrow: Narrow) -> None:
    source = narrow()
    graph = export_image(source, "fp32")
    assert not worst(image_cases(source, lambda pixels: graph(pixels.flip(3)), "fp32")).good


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(torch.full((2, 4), math.nan), id="NaN"),
        pytest.param(torch.ones(2, 5), id="another width"),
        pytest.param(torch.ones(1, 4), id="a row too few"),
        pytest.param(torch.ones(2, 4, dtype=torch.float16), id="half precision"),
    ],
)
def test_answers_of_the_wrong_kind_are_not_good(found: Tensor) -> None:
    assert not compare("image", "batch 2", found, torch.ones(2, 4), 0.9).good


def test_the_numbers_are_the_largest_difference_and_the_smallest_cosine() -> None:
    case = compare(
        "image", "batch 2", torch.tensor([[1.0, 0], [3, 4]]), torch.tensor([[1.0, 0], [4, 3]]), 0.9
    )
    assert case.max_abs_diff == 1
    assert case.min_cosine == pytest.approx(24 / 25)
    assert case.good
