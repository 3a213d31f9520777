"""Weights under new names: those of transformers become those of open_clip and timm."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from clipserve_exporter.errors import ExportError

DERIVED = "position_ids"
"""Ending of numbers that older checkpoints store and the configuration determines."""


class Renaming:
    """Moves weights from a checkpoint to a model; nothing is left behind unnoticed."""

    def __init__(self, state: Mapping[str, Tensor], what: str) -> None:
        self.renamed: dict[str, Tensor] = {}
        """The weights under their new names."""
        self._left = {name: value for name, value in state.items() if not name.endswith(DERIVED)}
        self._what = what

    def take(self, name: str) -> Tensor:
        """Removes a weight from the checkpoint. Raises ExportError if it is missing."""
        if name not in self._left:
            raise ExportError(f"the weights of {self._what} do not fit its config.json: {name} is missing")
        return self._left.pop(name)

    def move(self, old: str, new: str) -> None:
        """Moves one weight."""
        self.renamed[new] = self.take(old)

    def layer(self, old: str, new: str) -> None:
        """Moves the weight and the bias of a layer."""
        for part in ("weight", "bias"):
            self.move(f"{old}.{part}", f"{new}.{part}")

    def joined(self, old: str, new: str) -> None:
        """Joins the projections of queries, keys and values; `new` is followed by `weight` and `bias`."""
        for part in ("weight", "bias"):
            self.renamed[f"{new}{part}"] = torch.cat([self.take(f"{old}.{one}_proj.{part}") for one in "qkv"])

    def subtree(self, old: str, new: str) -> None:
        """Moves all weights whose names begin with `old`."""
        for name in [name for name in self._left if name.startswith(old)]:
            self.move(name, new + name.removeprefix(old))

    def drop(self, old: str) -> None:
        """Leaves out the weights whose names begin with `old`, which no embedding depends on."""
        self._left = {name: value for name, value in self._left.items() if not name.startswith(old)}

    def finish(self) -> dict[str, Tensor]:
        """Returns the renamed weights. Raises ExportError if the checkpoint has more."""
        if self._left:
            names = sorted(self._left)
            raise ExportError(
                f"the weights of {self._what} do not fit its config.json: {len(names)} are unknown, first "
                f"{names[0]}"
            )
        return self.renamed


def clip_blocks(renaming: Renaming, old: str, new: str, layers: int) -> None:
    """Moves the layers of a transformer to open_clip's names."""
    for number in range(layers):
        before, after = f"{old}.encoder.layers.{number}", f"{new}.resblocks.{number}"
        renaming.joined(f"{before}.self_attn", f"{after}.attn.in_proj_")
        renaming.layer(f"{before}.self_attn.out_proj", f"{after}.attn.out_proj")
        renaming.layer(f"{before}.layer_norm1", f"{after}.ln_1")
        renaming.layer(f"{before}.layer_norm2", f"{after}.ln_2")
        renaming.layer(f"{before}.mlp.fc1", f"{after}.mlp.c_fc")
        renaming.layer(f"{before}.mlp.fc2", f"{after}.mlp.c_proj")


def timm_blocks(renaming: Renaming, old: str, new: str, layers: int) -> None:
    """Moves the layers of a transformer to timm's names."""
    for number in range(layers):
        before, after = f"{old}.encoder.layers.{number}", f"{new}.blocks.{number}"
        renaming.joined(f"{before}.self_attn", f"{after}.attn.qkv.")
        renaming.layer(f"{before}.self_attn.out_proj", f"{after}.attn.proj")
        renaming.layer(f"{before}.layer_norm1", f"{after}.norm1")
        renaming.layer(f"{before}.layer_norm2", f"{after}.norm2")
        renaming.layer(f"{before}.mlp.fc1", f"{after}.mlp.fc1")
        renaming.layer(f"{before}.mlp.fc2", f"{after}.mlp.fc2")
