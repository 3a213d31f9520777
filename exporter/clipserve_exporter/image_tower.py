"""The image tower as a module of its own: uint8 pixels → float32 embeddings, not normalized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class ImageTower(nn.Module):
    """Normalizes pixels as the model's preprocessing does and encodes them."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> None:
        super().__init__()
        self.visual = model.visual
        self.dtype = dtype
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """RGB uint8 [B, S, S, 3] → float32 [B, D]."""
        # In float32 and in torchvision's order of steps, so that no bit differs from it.
        x = pixels.permute(0, 3, 1, 2).to(torch.float32).div(255)
        features = self.visual(x.sub(self.mean).div(self.std).to(self.dtype))
        # With output_tokens, the tower also returns the features of the patches.
        return (features[0] if isinstance(features, tuple) else features).float()
