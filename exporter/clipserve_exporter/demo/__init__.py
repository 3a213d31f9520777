"""The bundled demo model: a small CLIP that runs anywhere, offline, on a CPU.

The weights file holds float16. Of the token embeddings it holds the rows that training touched; all other
tokens share one row, that of unknown words.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ARCHITECTURE = "clipserve-demo"
TOKEN_EMBEDDING = "token_embedding.weight"
ROWS, IDS, UNKNOWN = "token_rows", "token_ids", "token_unknown"


def folder() -> Path:
    """Where the model's configuration, weights and licenses are."""
    return Path(str(resources.files(__name__)))


def weights_path() -> Path:
    """The weights file."""
    return folder() / "weights.safetensors"


def config() -> dict[str, Any]:
    """The open_clip configuration."""
    loaded: dict[str, Any] = json.loads((folder() / "model.json").read_text())
    return loaded


def build() -> Any:
    """An untrained open_clip CLIP of the demo's architecture."""
    from clipserve_exporter.torchvision_shim import make_importable

    make_importable()
    from open_clip.model import CLIP

    parts = {key: value for key, value in config().items() if key != "preprocess_cfg"}
    return CLIP(**parts)


def load_demo(path: Path | None = None) -> Any:
    """The demo model as an open_clip CLIP, in eval mode, float32."""
    model = build()
    model.load_state_dict(unpack(load_file(path or weights_path()), config()["text_cfg"]["vocab_size"]))
    return model.eval()


def save_demo(model: Any, trained_tokens: torch.Tensor, path: Path | None = None) -> None:
    """Writes the weights; tokens not among `trained_tokens` (int64 [n]) must share one row already."""
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    table = state.pop(TOKEN_EMBEDDING)
    untrained = torch.ones(len(table), dtype=torch.bool)
    untrained[trained_tokens] = False
    state[IDS] = trained_tokens.int()
    state[ROWS] = table[trained_tokens].contiguous()
    state[UNKNOWN] = table[untrained][0].clone()
    save_file(state, path or weights_path())


def unpack(packed: dict[str, torch.Tensor], vocabulary: int) -> dict[str, torch.Tensor]:
    """The open_clip state dict of a weights file's tensors, float32."""
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in packed.items()
    }
    ids, rows, unknown = state.pop(IDS), state.pop(ROWS), state.pop(UNKNOWN)
    table = unknown.repeat(vocabulary, 1)
    table[ids.long()] = rows
    return state | {TOKEN_EMBEDDING: table}
