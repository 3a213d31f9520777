"""open_clip's configuration of a tower from that of transformers."""

from __future__ import annotations

from typing import Any

from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import is_finite

TANH = ("gelu_pytorch_tanh", "gelu_new")
"""Names of the approximation of GELU by tanh."""
ACTIVATIONS = ("quick_gelu", "gelu", *TANH)
EPS = 1e-5
"""open_clip's default of layer norms."""
LARGEST_EPS = 1.0
"""Far above those of all known models, which are at most 1e-5."""


def vision_config(config: Any) -> dict[str, Any]:
    """Returns the vision_cfg of a ViT with class token, as CLIP's."""
    return {
        "image_size": integer(config, "image_size"),
        "patch_size": integer(config, "patch_size"),
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "head_width": head_width(config),
        "mlp_ratio": mlp_ratio(config),
        **extras(config),
    }


def text_config(config: Any) -> dict[str, Any]:
    """Returns the text_cfg of a transformer, without what pools it."""
    head_width(config)
    return {
        "context_length": config.max_position_embeddings,
        "vocab_size": config.vocab_size,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "mlp_ratio": mlp_ratio(config),
        **extras(config),
    }


def extras(config: Any) -> dict[str, Any]:
    """Returns the settings that are given only if they differ from open_clip's defaults."""
    settings: dict[str, Any] = {}
    if epsilon(config) != EPS:
        settings["norm_kwargs"] = {"eps": epsilon(config)}
    if activation(config) in TANH:
        settings["act_kwargs"] = {"approximate": "tanh"}
    return settings


def epsilon(config: Any) -> float:
    """Returns layer_norm_eps. Raises ExportError if it is not a number that a layer norm can add."""
    value = config.layer_norm_eps
    if not is_finite(value) or not 0 < value <= LARGEST_EPS:
        raise ExportError(
            f"config.json has layer_norm_eps {value!r}; it must be a number above 0 and up to {LARGEST_EPS:g}"
        )
    return float(value)


def activation(config: Any) -> str:
    """Returns the activation of a tower. Raises ExportError if open_clip does not have it."""
    name = str(config.hidden_act)
    if name not in ACTIVATIONS:
        raise ExportError(
            f"config.json has hidden_act {name!r}, which is not supported; supported are "
            f"{', '.join(ACTIVATIONS)}"
        )
    return name


def both_quick(text: Any, vision: Any) -> bool:
    """Whether both towers use QuickGELU. Raises ExportError if only one does."""
    quick = [activation(config) == "quick_gelu" for config in (text, vision)]
    if quick[0] != quick[1]:
        raise ExportError(
            f"config.json has hidden_act {activation(text)!r} for texts and {activation(vision)!r} for "
            "images; models with QuickGELU in one tower only are not supported"
        )
    return quick[0]


def mlp_ratio(config: Any) -> float:
    """Returns the ratio that gives exactly the MLP's width when it is multiplied and cut to an integer."""
    width, inner = config.hidden_size, config.intermediate_size
    ratio = inner / width
    return ratio if int(width * ratio) == inner else (inner + 0.5) / width


def head_width(config: Any) -> int:
    """Returns the width of an attention head."""
    width, heads = config.hidden_size, config.num_attention_heads
    if width % heads:
        raise ExportError(f"config.json has hidden_size {width}, which {heads} attention heads do not divide")
    return int(width // heads)


def integer(config: Any, name: str) -> int:
    """Returns a size that transformers' models of this kind have for both sides."""
    value = getattr(config, name)
    if not isinstance(value, int) or value < 1:
        raise ExportError(f"config.json has {name} {value!r}; supported is one positive number")
    return value


def require_rgb(config: Any) -> None:
    """Raises ExportError for images of other than three channels."""
    if config.num_channels != 3:
        raise ExportError(f"config.json has num_channels {config.num_channels}; supported are 3 (RGB)")
