"""Which kind of GELU a model's weights were trained with: QuickGELU or GELU. Files rarely tell."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from clipserve_exporter.errors import ExportError

QUICK = "-quickgelu"
"""Ending of the names of open_clip's architectures with QuickGELU."""
CHOICES = {"quickgelu": True, "gelu": False}
"""Values of --activation."""
WORDS = {True: "QuickGELU", False: "GELU"}


def is_quick(config: Mapping[str, Any]) -> bool:
    """Whether the configuration of an architecture or of weights requires QuickGELU."""
    return bool(config.get("quick_gelu", False))


def sibling(name: str, quick: bool) -> str:
    """Returns open_clip's name of an architecture with the given activation."""
    return name.removesuffix(QUICK) + (QUICK if quick else "")


def of_tag(
    name: str, config: Mapping[str, Any], tag_config: Mapping[str, Any], architectures: Collection[str]
) -> bool:
    """Whether the weights of a tag have QuickGELU.

    open_clip's tags tell it where the architecture exists with both activations; elsewhere the architecture
    does.
    """
    other = sibling(name, not is_quick(config))
    return is_quick(tag_config if other != name and other in architectures else config)


def agreed(given: str, quick: bool, what: str) -> bool:
    """Returns `quick`, which `what` says. Raises ExportError if --activation says otherwise."""
    if given and CHOICES[given] != quick:
        raise ExportError(
            f"{what} requires {WORDS[quick]}, and --activation {given} contradicts it; omit --activation"
        )
    return quick


def require_choice(name: str, config: Mapping[str, Any]) -> None:
    """Raises ExportError if no layer of an architecture depends on --activation."""
    if config.get("vision_cfg", {}).get("timm_model_name") and config["text_cfg"].get("hf_model_name"):
        raise ExportError(f"--activation has no effect on {name}: its towers define their own activations")


def unknown_activation(file: Path, name: str, quick: bool) -> str:
    """Returns the warning about a file that does not tell its activation."""
    other = not quick
    option = next(key for key, value in CHOICES.items() if value == other)
    return (
        f"{file.name} does not tell which activation its weights were trained with. {name} has "
        f"{WORDS[quick]}. If they were trained with {WORDS[other]}, every embedding is wrong: use "
        f"--activation {option}. The weights of OpenAI, MetaCLIP and DFN have QuickGELU; most weights of "
        "LAION have GELU. Pass --pretrained TAG=FILE to name the weights, or --activation to say it"
    )
