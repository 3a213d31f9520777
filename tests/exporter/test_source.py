"""Damaged models are refused with a sentence, whatever the libraries make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from clipserve_exporter.errors import ExportError
from clipserve_exporter.source import load
from safetensors.torch import save_file


@pytest.mark.parametrize("scale", [1000.0, -1000.0])
def test_an_impossible_logit_scale_is_refused(
    scale: float, tmp_path: Path, narrow_model: Callable[..., str]
) -> None:
    name = narrow_model(tmp_path / "narrow")
    state = load(name).model.state_dict() | {"logit_scale": torch.tensor(scale)}
    save_file(state, tmp_path / "narrow" / "model.safetensors")
    with pytest.raises(ExportError, match=r"logit scale|cannot be loaded"):
        load(name)


def test_an_error_of_a_library_becomes_a_sentence(tmp_path: Path, narrow_model: Callable[..., str]) -> None:
    name = narrow_model(tmp_path / "narrow", text_cfg={"heads": 0})
    with pytest.raises(ExportError, match="narrow"):
        load(name)
