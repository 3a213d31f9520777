"""The TorchScript files: dynamic, of one tower alone, and bound to no device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from clipserve_exporter.errors import ExportError
from clipserve_exporter.reference import encode_images
from clipserve_exporter.source import Source
from clipserve_exporter.torchscript import (
    baked_devices,
    checked,
    export_bytes,
    export_image,
    export_text,
    traced,
)
from torch import Tensor, nn

Narrow = Callable[..., Source]


class MakesPositions(nn.Module):
    """Asks for its input's device, which a trace turns into a constant."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, n] → [B, n]."""
        return x + torch.arange(x.shape[1], device=x.device)


class Deep(nn.Module):
    """Hides a module in a branch of a scripted one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """[B, n] → [B, n]."""
        if x.shape[0] > 1:
            x = self.inner(x)
        return x


def test_a_baked_device_is_found_also_in_branches_of_inner_modules() -> None:
    inner = traced(MakesPositions(), torch.zeros(2, 3))
    assert baked_devices(inner) == ["cpu"]
    with pytest.raises(ExportError, match=r"image tower's graph names the device cpu"):
        checked(torch.jit.script(Deep(inner)), "image")


def test_asking_for_the_device_when_running_bakes_none() -> None:
    assert baked_devices(torch.jit.script(MakesPositions())) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="ViT"),
        pytest.param({"quick_gelu": True, "custom_text": True}, id="quick GELU, custom text"),
        pytest.param({"vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}}, id="ResNet"),
        pytest.param(
            {
                "vision_cfg": {
                    "timm_model_name": "tf_efficientnet_lite0",
                    "timm_pool": "avg",
                    "timm_proj": "",
                    "image_size": 64,
                }
            },
            id="timm",
        ),
        pytest.param({"text_cfg": {"no_causal_mask": True}}, id="bidirectional text"),
        pytest.param(
            {"text_cfg": {"no_causal_mask": True}, "custom_text": True}, id="bidirectional custom text"
        ),
        pytest.param({"text_cfg": {"pool_type": "eos", "eos_id": 2}, "custom_text": True}, id="another end"),
        pytest.param(
            {
                "custom_text": True,
                "vision_cfg": {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
                "text_cfg": {"embed_cls": True, "output_tokens": True, "context_length": 76},
                "multimodal_cfg": {"context_length": 76, "width": 64, "heads": 2, "layers": 1},
            },
            id="CoCa",
        ),
    ],
)
def test_both_towers_name_no_device_and_take_any_batch(narrow: Narrow, changes: dict) -> None:
    source = narrow(**changes)
    size = source.preprocess.height
    image, text = export_image(source, "fp32"), export_text(source, "fp32")
    assert baked_devices(image) == baked_devices(text) == []
    for batch in (1, 3, 7):
        pixels = np.random.default_rng(batch).integers(0, 256, (batch, size, size, 3), np.uint8)
        torch.testing.assert_close(
            image(torch.from_numpy(pixels)), encode_images(source, pixels), atol=2e-5, rtol=1e-4
        )


def test_pixels_are_normalized_as_torchvision_does_to_the_bit(narrow: Narrow) -> None:
    source = narrow(preprocess_cfg={"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]})

    class Through(nn.Module):
        """Gives back what it is given."""

        def forward(self, x: Tensor) -> Tensor:
            """Any shape."""
            return x

    seen: list[Tensor] = []
    source.model.visual = Through()
    source.model.encode_image = lambda images, normalize: seen.append(images)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    encode_images(source, pixels)
    assert torch.equal(export_image(source, "fp32")(torch.from_numpy(pixels)), seen[0])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_files_hold_one_tower_in_the_precision_asked_for(
    narrow: Narrow, precision: str, tmp_path: Path
) -> None:
    source = narrow()
    wide = {"fp32": 4, "bf16": 2, "fp16": 2}[precision]
    of_image = sum(p.numel() for p in source.model.visual.parameters())
    of_text = sum(p.numel() for p in source.model.parameters()) - of_image
    for graph, size in (
        (export_image(source, precision), of_image),
        (export_text(source, precision), of_text),
    ):
        graph.save(str(tmp_path / "model.pt"))
        loaded = torch.jit.load(tmp_path / "model.pt")
        held = sum(p.numel() * p.element_size() for p in loaded.parameters())
        # The scale of the logits belongs to neither tower.
        assert size * wide - 8 <= held <= size * wide
    assert {p.dtype for p in source.model.parameters()} == {torch.float32}, "the source was not touched"


def test_the_fused_attention_is_on_again_after_tracing(narrow: Narrow) -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    export_text(narrow(), "fp32")
    assert torch.backends.mha.get_fastpath_enabled() is before


def test_stored_bytes_come_back_from_a_saved_model(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(10_000)
    export_bytes(content).save(tmp_path / "model.pt")
    found = torch.jit.load(tmp_path / "model.pt")(torch.zeros(1, dtype=torch.uint8))
    assert found.dtype == torch.uint8
    assert found.numpy().tobytes() == content
    assert not baked_devices(torch.jit.load(tmp_path / "model.pt"))
