"""Which versions of each model a Triton serves: the one in service, the next one, and those before.

A version's number is the hash of its files, so what was read of it once stays true. A configuration speaks
for the version that it names alone: Triton reports a new one for all versions that it has loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from clipserve_gateway.triton.model_config import (
    TOWERS,
    VERSION,
    BadModelConfig,
    LoadedVersions,
    TowerConfig,
    pair_towers,
    tower_name,
)
from clipserve_gateway.types import ModelSpec, Tower

REMEMBERED = 8
"""Versions of a model; calls for the oldest of them are over by then."""


@dataclass(frozen=True)
class ServedModel:
    """One version of a model: its specification, and the configurations that it was read from."""

    spec: ModelSpec
    image: TowerConfig
    text: TowerConfig

    def tower(self, tower: Tower) -> TowerConfig:
        """One of the configurations."""
        return self.image if tower == "image" else self.text


class ModelVersions:
    """All models of one Triton.

    Attributes:
        current: the versions in service, by model.
        next: versions that are loaded whole and have not answered right yet.
        newly_refused: what the last update found wrong with configurations, and the one before it did not.
    """

    def __init__(self) -> None:
        self.current: dict[str, ServedModel] = {}
        self.next: dict[str, ServedModel] = {}
        self.newly_refused: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._older: dict[str, list[ServedModel]] = {}
        self._had: dict[str, list[str]] = {}
        """Versions that were in service, the latest last."""

    def __iter__(self) -> Iterator[ServedModel]:
        """All that are loaded."""
        for models in (self.current.values(), self.next.values(), *self._older.values()):
            yield from models

    def update(self, loaded: LoadedVersions, towers: Mapping[str, TowerConfig]) -> None:
        """Takes note of what Triton has loaded, and of the configurations that it reports."""
        found = pair_towers(loaded, towers)
        refused = {name: str(error) for name, error in found.items() if isinstance(error, BadModelConfig)}
        self.newly_refused = {name: it for name, it in refused.items() if self._refused.get(name) != it}
        self._refused = refused
        for name in found.keys() | self.current.keys():
            spec, fresh = found.get(name), None
            if isinstance(spec, ModelSpec):
                image, text = (towers[tower_name(name, tower)] for tower in TOWERS)
                fresh = ServedModel(spec, image, text)
            older = self._older.pop(name, [])
            older = [it for it in older if is_loaded(it, loaded, towers) and not same_version(it, fresh)]
            if older:
                self._older[name] = older
            self._settle(name, fresh, loaded, towers)

    def _settle(
        self,
        name: str,
        fresh: ServedModel | None,
        loaded: LoadedVersions,
        towers: Mapping[str, TowerConfig],
    ) -> None:
        """Decides what is in service of one model; `fresh` is loaded whole."""
        self.next.pop(name, None)
        current = self.current.get(name)
        if current is not None and not is_loaded(current, loaded, towers):
            del self.current[name]
            current = None
        if fresh is None:
            return
        if current is None or same_version(current, fresh):
            self._put(name, fresh)
        else:
            self.next[name] = fresh

    def role(self, spec: ModelSpec) -> Literal["current", "next", "older"]:
        """What a version that is loaded is now."""
        current, following = self.current.get(spec.name), self.next.get(spec.name)
        if current is not None and current.spec == spec:
            return "current"
        return "next" if following is not None and following.spec == spec else "older"

    def switch(self, name: str) -> None:
        """Puts the next version of a model into service. Calls to the one before go on."""
        before = self.current.get(name)
        self._put(name, self.next.pop(name))
        if before is not None:
            self._older.setdefault(name, []).append(before)

    def _put(self, name: str, served: ServedModel) -> None:
        self.current[name] = served
        others = [version for version in self._had.get(name, []) if version != served.spec.version]
        self._had[name] = [*others, served.spec.version][-REMEMBERED:]

    def answering(self, spec: ModelSpec) -> ServedModel | None:
        """What answers calls for a specification: that very version; or, on a Triton that never had it, the
        same model of another export. One that had it has unloaded it: its answers belong together."""
        known = [self.current.get(spec.name), self.next.get(spec.name), *self._older.get(spec.name, ())]
        for it in known:
            if it is not None and (it.spec.version, it.spec.fingerprint) == (spec.version, spec.fingerprint):
                return it
        current = known[0]
        if current is None or spec.version in self._had[spec.name]:
            return None
        return current if interchangeable(current.spec, spec) else None


def same_version(one: ServedModel, other: ServedModel | None) -> bool:
    """Whether both have the same number."""
    return other is not None and one.spec.version == other.spec.version


def interchangeable(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether inputs for one model fit the other, and the embeddings are of one space."""
    return (one.fingerprint, one.fixed_text_length) == (other.fingerprint, other.fixed_text_length)


def is_loaded(model: ServedModel, loaded: LoadedVersions, towers: Mapping[str, TowerConfig]) -> bool:
    """Whether Triton still has a version of both towers, with the files that it was read with.

    The number of an export that names no version says nothing of its files: it is the same as long as the
    configuration is, or names another version.
    """
    return all(
        tower.version in loaded.get(tower.triton_name, ())
        and (VERSION in tower.parameters or is_unchanged(tower, towers.get(tower.triton_name)))
        for tower in (model.image, model.text)
    )


def is_unchanged(before: TowerConfig, now: TowerConfig | None) -> bool:
    """Whether a configuration does not describe other files under the version of another one."""
    return now is not None and (VERSION in now.parameters or now == before)
