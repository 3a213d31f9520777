"""The verdict on exported graphs: what is refused, and what is compared once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from clipserve_exporter.errors import ExportError
from clipserve_exporter.parity import ALIKE, NEARLY_ALIKE, Case, image_cases, likeness_of, text_cases
from clipserve_exporter.source import Source
from clipserve_exporter.torchscript import export_image, export_text
from clipserve_exporter.verification import compare_again, require_parity

Narrow = Callable[..., Source]
RESNET = {"vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}}


def alike(source: Source) -> Source:
    """Makes all pictures nearly the same to the model, as initial weights of some architectures do."""
    source.model.visual.proj.mul_(1e-3)
    source.model.visual.ln_post.bias.add_(9)
    return source


def verified(source: Source) -> tuple[list[Case], tuple[str, ...]]:
    """Both towers' cases, and what they could not show."""
    cases = [
        *image_cases(source, export_image(source, "fp32"), "fp32"),
        *text_cases(source, export_text(source, "fp32", "ragged"), "fp32", "ragged"),
    ]
    return compare_again(source, cases, "fp32", "ragged")


def test_inputs_that_differ_are_compared_once(narrow: Narrow) -> None:
    cases, warnings = verified(narrow())
    assert not warnings
    assert max(likeness_of(cases, tower) for tower in ("image", "text")) < NEARLY_ALIKE
    assert not any("perturbed" in case.what for case in cases)


def test_trained_weights_with_which_all_pictures_are_alike_are_refused(narrow: Narrow) -> None:
    with pytest.raises(ExportError, match=r"different pictures have nearly .*cosine at least 0\.99.*damaged"):
        verified(replace(alike(narrow()), pretrained="weights.pt"))


def test_random_weights_with_which_all_pictures_are_alike_are_compared_again_perturbed(
    narrow: Narrow,
) -> None:
    source = alike(narrow())
    before = source.weights_sha256()
    cases, warnings = verified(source)
    again = [case for case in cases if "perturbed weights" in case.what]
    assert again
    assert {case.tower for case in again} == {"image"}
    assert likeness_of(again, "image") < ALIKE
    assert not warnings
    assert source.weights_sha256() == before


def test_pictures_that_stay_alike_are_told(narrow: Narrow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipserve_exporter.verification.jittered", lambda source: source)
    _, warnings = verified(alike(narrow()))
    assert "Different pictures have nearly the same embedding" in warnings[0]


def test_a_graph_that_confuses_pictures_passes_only_where_all_are_alike(narrow: Narrow) -> None:
    """Why such weights are refused or compared again."""

    def confused(source: Source) -> list[Case]:
        graph = export_image(source, "fp32")
        return list(image_cases(source, lambda pixels: graph(pixels.roll(1, 0)), "bf16"))

    assert not all(case.good for case in confused(narrow()))
    assert all(case.good for case in confused(alike(narrow())))


def test_what_is_not_a_number_is_told_with_a_remedy() -> None:
    case = Case("text", "batch 1", float("nan"), float("nan"), 0.9999)
    with pytest.raises(
        ExportError, match=r"text tower gives infinity or NaN.* in fp16.*use --precision fp32"
    ):
        require_parity([case], "fp16")


def test_embeddings_of_open_clip_that_are_not_finite_are_refused(narrow: Narrow) -> None:
    source = narrow()
    source.model.ln_final.weight.mul_(1e38)
    source.model.text_projection.mul_(1e38)
    with pytest.raises(ExportError, match="open_clip's own text embeddings contain infinity or NaN"):
        verified(source)
