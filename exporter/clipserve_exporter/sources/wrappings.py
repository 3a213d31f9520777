"""The weights in the content of a file, without what training programs wrap around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from clipserve_exporter.errors import ExportError

STATE = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which training programs store the weights."""
OTHER_STATES = ("net", "network", "weights", "params", "clip")
AVERAGES = ("ema", "model_ema", "ema_state_dict", "state_dict_ema")
"""Keys under which training programs store the moving average of the weights."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "clip.", "clip_model.", "_forward_module.")
"""Prefixes that DataParallel, torch.compile and training programs add to every name."""
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "n_averaged")
"""Numbers that OpenAI's archives and torch's AveragedModel store among the weights."""
MAX_DEPTH = 16
"""Most levels of nested dictionaries; one that contains itself would never end."""


class Unused:
    """Takes the place of a number, an array or a path that is stored with the weights.

    The value is not read, so that no code of its real class runs.
    """

    def __new__(cls, *_: object) -> Unused:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        """Accepts the arguments of the real class."""

    def __setstate__(self, _: object) -> None:
        """Accepts the arguments of the real class."""


def named(content: Any, path: Path) -> dict[str, Tensor]:
    """Returns the weights in the content of a file, under the names that the model uses."""
    for _ in range(MAX_DEPTH):
        inner = wrapped(content, path) if isinstance(content, Mapping) and not tensors(content) else None
        if inner is None:
            break
        content = inner
    else:
        raise ExportError(f"{path} contains no weights in its first {MAX_DEPTH} levels of nesting")
    weights = without_numbers(tensors(content)) if isinstance(content, Mapping) else {}
    if not weights:
        raise ExportError(f"{path} contains no weights: {describe(content)}")
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), ""):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
        weights = without_numbers(weights)
    return weights


def without_numbers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights without the numbers that are stored among them."""
    return {name: value for name, value in weights.items() if name not in NOT_WEIGHTS}


def describe(content: Any) -> str:
    """Describes the content of a file without weights."""
    if not isinstance(content, Mapping):
        return "it is not a dictionary"
    names = ", ".join(str(name)[:60] for name in list(content)[:5])
    if names and all(isinstance(value, Unused) for value in content.values()):
        return f"{names} are NumPy arrays, not tensors; convert them with torch.from_numpy"
    return f"it has only {names}" if names else "it has no entries"


def tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Returns the entries that are tensors; none if another entry is a larger dictionary."""
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    holds_more = any(len(value) > len(weights) for value in content.values() if isinstance(value, Mapping))
    return {} if holds_more else weights


def wrapped(content: Mapping[Any, Any], path: Path) -> Any:
    """Returns the dictionary of weights inside another one, or None. Raises ExportError for several."""
    held = {name: content[name] for name in (*STATE, *AVERAGES) if filled(content.get(name))}
    held = held or {name: content[name] for name in OTHER_STATES if filled(content.get(name))}
    if len(held) > 1:
        raise ExportError(
            f"{path} contains several sets of weights ({', '.join(held)}); save only one of them: "
            f"torch.save(torch.load(FILE)[{next(iter(held))!r}], OTHER)"
        )
    return next(iter(held.values()), None)


def filled(value: Any) -> bool:
    """Whether a value can be a dictionary of weights."""
    return isinstance(value, Mapping) and bool(value)
