"""Why Triton does not serve a model, in words for operators."""

from __future__ import annotations

from collections.abc import Mapping

from clipserve_gateway.triton.model_config import TOWERS, LoadedVersions, tower_name
from clipserve_gateway.triton.parameters import TowerConfig

LONGEST_REASON = 300
"""Characters of Triton's reason why it cannot load a model."""

LOADING = "Triton has not loaded it"
"""Reason for a model that Triton lists, and that is neither ready nor failed to load."""


FAILED_LOAD = "Triton cannot load"
"""Beginning of the reason for a model that Triton has failed to load."""


def unready_reason(
    model: str, index: LoadedVersions, failures: Mapping[str, str], towers: Mapping[str, TowerConfig]
) -> str:
    """Why Triton does not serve a model whose configuration has no error.

    Args:
        failures: Triton's reasons why towers are not ready.
        towers: the configurations of the towers that are ready.
    """
    names = [tower_name(model, tower) for tower in TOWERS]
    for tower in names:
        if tower not in index:
            return f"the repository has no {tower}"
        # Triton's text has the reason first, and then a traceback.
        reason = " ".join(failures.get(tower, "").partition("\n\nAt:")[0].split())
        if reason:
            return f"{FAILED_LOAD} {tower}: {reason[:LONGEST_REASON]}"
    for tower in names:
        config = towers.get(tower)
        if config is not None and index[tower] and config.version not in index[tower]:
            return (
                f"the configuration of {tower} describes version {config.version[:30]}, and Triton has "
                f"loaded {', '.join(sorted(index[tower]))}"
            )
    return LOADING
