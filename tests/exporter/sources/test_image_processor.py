"""The preprocessor_config.json of a folder gives open_clip's preprocessing, or a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.image_processor import FILE, image_preprocessing

CLIP: dict[str, Any] = {"size": {"shortest_edge": 32}, "crop_size": 32}
SIGLIP: dict[str, Any] = {"size": {"height": 32, "width": 32}}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Reads a configuration with changes."""

    def make(kind: str = "clip", **changes: Any) -> dict[str, Any]:
        config = (SIGLIP if kind == "siglip" else CLIP) | changes
        (tmp_path / FILE).write_text(json.dumps(config))
        return image_preprocessing(tmp_path, kind, 32)

    return make


def test_what_is_left_out_or_null_is_transformers_default(read: Callable[..., dict[str, Any]]) -> None:
    plain = read()
    assert (plain["resize_mode"], plain["size"], plain["interpolation"]) == ("shortest", (32, 32), "bicubic")
    assert plain["mean"][0] == pytest.approx(0.48145466)
    assert read(do_resize=None, do_center_crop=None, do_normalize=None, image_mean=None) == plain
    assert read("siglip", do_center_crop=None)["resize_mode"] == "squash"
    assert read(do_normalize=False)["std"] == (1.0, 1.0, 1.0)
    assert read(size={"shortest_edge": 32.0}, resample=2)["interpolation"] == "bilinear"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"do_center_crop": "false"}, "do_center_crop 'false'; it must be true or false"),
        ({"do_normalize": "no"}, "do_normalize 'no'; it must be true or false"),
        ({"do_resize": 1}, "do_resize 1; it must be true or false"),
        ({"do_resize": False}, "do_resize false; supported is true"),
        ({"do_rescale": False}, "do_rescale false; supported is true"),
        ({"image_std": [0.5, 0, 0.5]}, "its numbers must be above 0"),
        ({"image_std": [0.5, float("inf"), 0.5]}, "image_std .* it must be three finite numbers"),
        ({"image_std": []}, r"image_std \[\]; it must be three finite numbers"),
        ({"image_mean": [0.5, float("nan"), 0.5]}, "image_mean .* it must be three finite numbers"),
        ({"image_mean": ["0.5", "0.5", "0.5"]}, "image_mean .* it must be three finite numbers"),
        ({"image_mean": 0.5}, "image_mean 0.5; it must be three finite numbers"),
        ({"rescale_factor": float("nan")}, "rescale_factor nan; supported is 1/255"),
        ({"rescale_factor": "1/255"}, "rescale_factor '1/255'; supported is 1/255"),
        ({"resample": 1}, "resample 1; supported are 2"),
        ({"resample": [3]}, r"resample \[3\]; supported are 2"),
        ({"resample": None}, "resample None; supported are 2"),
        ({"size": {"shortest_edge": "32"}}, "they cannot be read"),
        ({"size": {"shortest_edge": 32.7}}, "they cannot be read"),
        ({"size": {"height": 32}}, "they cannot be read"),
        ({"size": "32"}, "they cannot be read"),
        ({"crop_size": {"height": 32}}, "they cannot be read"),
        ({"crop_size": 24}, r"crops to \(24, 24\); supported is a crop of the same size"),
        ({"size": {"shortest_edge": 24}, "crop_size": 24}, "config.json has image_size 32"),
    ],
)
def test_a_setting_that_cannot_be_kept_is_refused(
    read: Callable[..., dict[str, Any]], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ExportError, match=sentence) as raised:
        read(**changes)
    assert FILE in str(raised.value)
