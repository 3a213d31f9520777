"""Weights under new names: those of transformers become those of open_clip and timm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class BlockNames:
    """The names of the parts of a transformer's layer; `projections` is followed by `weight` and `bias`."""

    layers: str
    projections: str
    output: str
    norms: tuple[str, str]
    mlp: tuple[str, str]


OPEN_CLIP = BlockNames(
    "resblocks", "attn.in_proj_", "attn.out_proj", ("ln_1", "ln_2"), ("mlp.c_fc", "mlp.c_proj")
)
TIMM = BlockNames("blocks", "attn.qkv.", "attn.proj", ("norm1", "norm2"), ("mlp.fc1", "mlp.fc2"))


def move_blocks(renaming: Renaming, old: str, new: str, layers: int, names: BlockNames) -> None:
    """Moves the layers of a transformer of transformers to other names."""
    for number in range(layers):
        before, after = f"{old}.encoder.layers.{number}", f"{new}.{names.layers}.{number}"
        renaming.joined(f"{before}.self_attn", f"{after}.{names.projections}")
        renaming.layer(f"{before}.self_attn.out_proj", f"{after}.{names.output}")
        for part, name in enumerate(names.norms, 1):
            renaming.layer(f"{before}.layer_norm{part}", f"{after}.{name}")
        for part, name in enumerate(names.mlp, 1):
            renaming.layer(f"{before}.mlp.fc{part}", f"{after}.{name}")
