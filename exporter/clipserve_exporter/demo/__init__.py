"""The bundled demo model: a small CLIP that runs anywhere, offline, on a CPU.

The weights are float16. Only the token embeddings that training changed are stored; all other tokens
share one row for unknown words.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from clipserve_exporter.torchvision_shim import make_importable

ARCHITECTURE = "clipserve-demo"
TOKEN_EMBEDDING = "token_embedding.weight"
ROWS, IDS, UNKNOWN = "token_rows", "token_ids", "token_unknown"


def folder() -> Path:
    """Returns the folder of the model's configuration, weights and licenses."""
    return Path(str(resources.files(__name__)))


def weights_path() -> Path:
    """Returns the path of the weights file."""
    return folder() / "weights.safetensors"


def config() -> dict[str, Any]:
    """Returns the open_clip configuration."""
    loaded: dict[str, Any] = json.loads((folder() / "model.json").read_text(encoding="utf-8"))
    return loaded


def build(vocabulary: int | None = None) -> Any:
    """Creates an untrained CLIP with the demo's architecture; `vocabulary` is the number of tokens."""
    make_importable()
    from open_clip.model import CLIP

    parts = config()
    del parts["preprocess_cfg"]
    if vocabulary is not None:
        parts["text_cfg"]["vocab_size"] = vocabulary
    return CLIP(**parts)


def load_demo(path: Path | None = None) -> Any:
    """Loads the demo model as an open_clip CLIP in eval mode, float32."""
    model = build()
    packed = load_file(path or weights_path())
    model.load_state_dict(unpack(packed, model.vocab_size))
    return model.eval()


def save_demo(model: Any, tokens: torch.Tensor, unknown: int, path: Path | None = None) -> None:
    """Writes a model that knows only the token ids `tokens`, int64 [n], ascending.

    `unknown` is one of them; all other tokens get its row.
    """
    state = {
        name: tensor.detach().half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    rows = state.pop(TOKEN_EMBEDDING)
    state |= {IDS: tokens.int(), ROWS: rows, UNKNOWN: rows[tokens == unknown][0].clone()}
    save_file(state, path or weights_path())


def unpack(packed: dict[str, torch.Tensor], vocabulary: int) -> dict[str, torch.Tensor]:
    """Converts the tensors of a weights file to an open_clip state dict, float32."""
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in packed.items()
    }
    ids, rows, unknown = state.pop(IDS), state.pop(ROWS), state.pop(UNKNOWN)
    table = unknown.repeat(vocabulary, 1)
    table[ids.long()] = rows
    return state | {TOKEN_EMBEDDING: table}
