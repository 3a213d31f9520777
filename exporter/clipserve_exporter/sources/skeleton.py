"""Compares the sizes that a configuration names with those of the weights, before memory is taken for them.

A configuration of a few bytes can name sizes that no machine has memory for. So its network is first built on
torch's device `meta`, which keeps shapes without numbers.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from clipserve_exporter.errors import ExportError

Model = TypeVar("Model", bound=nn.Module)

MODULES, MODULES_PER_WEIGHT = 1_000, 10
"""Most modules of a network: these, and so many for each tensor of its weights."""
NUMBERS, NUMBERS_PER_NUMBER = 64 << 20, 2
"""Most numbers in a network: these, and so many for each number of its weights. Position embeddings that
open_clip interpolates may be larger than those of the weights."""
MAX_POSITIONS = 1 << 16
"""Most patches of an image whose positions NumPy computes, also without memory for the network."""


def filled(make: Callable[[], Model], weights: Mapping[str, Tensor]) -> Model:
    """Returns a new model with these weights.

    Raises torch's RuntimeError if names or shapes differ, before the model takes memory.
    """
    with without_memory(len(weights)):
        make().load_state_dict(weights)
    model = make()
    model.load_state_dict(weights)
    return model


def require_sizes(
    make: Callable[[], nn.Module], config: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> None:
    """Raises ExportError if a model would be much larger than its weights, of whatever names.

    Args:
        make: makes the model, which is built without memory here.
        config: open_clip's model configuration.
    """
    require_positions(config)
    with without_memory(len(weights)):
        try:
            model = make()
        except ExportError:
            raise
        except Exception:
            # What is wrong with it shows when it is built with memory, and some parts need memory.
            return
    has = sum(tensor.numel() for tensor in weights.values())
    wants = sum(tensor.numel() for tensor in itertools.chain(model.parameters(), model.buffers()))
    if wants > NUMBERS + NUMBERS_PER_NUMBER * has:
        raise ExportError(
            f"the configuration describes a network of {wants:,} numbers, and the weights have {has:,}: they "
            "are of another model"
        )


def require_positions(config: Mapping[str, Any]) -> None:
    """Raises ExportError if an image has too many patches whose positions are computed."""
    vision = config.get("vision_cfg")
    if not isinstance(vision, Mapping) or vision.get("pos_embed_type", "learnable") == "learnable":
        return
    sizes = (vision.get("image_size", 224), vision.get("patch_size", 16))
    sides, patches = (size if isinstance(size, (list, tuple)) else (size, size) for size in sizes)
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        height, width = (side // patch for side, patch in zip(sides, patches, strict=True))
        if height * width > MAX_POSITIONS:
            raise ExportError(
                f"the configuration has image_size {sizes[0]} and patch_size {sizes[1]}: {height * width:,} "
                f"patches, at most {MAX_POSITIONS:,} are supported"
            )


@contextlib.contextmanager
def without_memory(weights: int) -> Iterator[None]:
    """Makes torch build networks without memory; the number of modules is bounded by that of the weights.

    Raises ExportError for more modules.
    """
    most, built = MODULES + MODULES_PER_WEIGHT * weights, itertools.count(1)

    def count(*_: object) -> None:
        if next(built) > most:
            raise ExportError(
                f"the configuration describes a network with more than {most:,} parts, and the weights have "
                f"{weights:,} tensors: they are of another model"
            )

    hook = register_module_module_registration_hook(count)
    try:
        with torch.device("meta"), warnings.catch_warnings():
            # Of weights that are not copied.
            warnings.simplefilter("ignore")
            yield
    finally:
        hook.remove()
