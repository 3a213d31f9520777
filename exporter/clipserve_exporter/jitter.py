"""Perturbs random weights so that different inputs get different embeddings.

Some architectures give all inputs nearly the same embedding with their initial weights: their normalizations
do not center anything yet, and layers that begin at zero add nothing. A comparison on such weights shows
little. Exports keep the initial weights, so that a seed always has the same fingerprint. Only a copy for the
comparison is changed.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from clipserve_exporter.reference import encode_images
from clipserve_exporter.samples import pictures
from clipserve_exporter.source import Source

VECTOR_NOISE = 0.2
"""Standard deviation of what is added to biases, scales and other vectors."""
MATRIX_NOISE = 4.0
"""The same for matrices, as a multiple of their own standard deviation."""
PICTURES = 8
"""Number of pictures that the batch normalizations are adapted to."""


def jittered(source: Source, seed: int = 0) -> Source:
    """Returns a source with a perturbed copy of the model; equal for equal seeds."""
    other = replace(source, model=copy.deepcopy(source.model))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, tensor in sorted(other.model.named_parameters()):
            noise = torch.empty(tensor.shape).normal_(generator=generator)
            if tensor.dim() > 1:
                tensor.add_(noise * (tensor.std() * MATRIX_NOISE))
            elif tensor.dim() == 1:
                tensor.add_(noise * VECTOR_NOISE)
    center(other)
    return other


def center(source: Source) -> None:
    """Gives batch normalizations the mean and variance of what they get for some pictures."""
    norms: list[Any] = [module for module in source.model.visual.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    height, width, _ = source.preprocess.shape
    encode_images(source, pictures(np.random.default_rng(0), PICTURES, height, width))
    source.model.eval()
