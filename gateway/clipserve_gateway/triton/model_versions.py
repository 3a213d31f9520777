"""The versions of each model that a Triton has loaded: the current one, the next one, and older ones.

A version's number is a hash of its files, so its specification never changes. A configuration describes only
the version that it names: Triton reports the newest one for all versions that it has loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from clipserve_gateway.triton.model_config import TOWERS, LoadedVersions, pair_towers, tower_name
from clipserve_gateway.triton.parameters import VERSION, BadModelConfig, TowerConfig
from clipserve_gateway.types import ModelSpec, Tower

REMEMBERED = 8
"""Versions of a model that are remembered; calls for older ones have ended."""


@dataclass(frozen=True)
class ServedModel:
    """One version of a model: its specification, and the configurations of its towers."""

    spec: ModelSpec
    image: TowerConfig
    text: TowerConfig

    def tower(self, tower: Tower) -> TowerConfig:
        """The configuration of a tower."""
        return self.image if tower == "image" else self.text


class ModelVersions:
    """The models of one Triton.

    Attributes:
        current: the version of each model that gets calls.
        next: the version of a model whose towers are both loaded, and which has not answered right yet.
        refused: errors in configurations.
        newly_refused: those that the last update has found and the previous one had not.
    """

    def __init__(self) -> None:
        self.current: dict[str, ServedModel] = {}
        self.next: dict[str, ServedModel] = {}
        self.newly_refused: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._older: dict[str, list[ServedModel]] = {}
        self._had: dict[str, list[str]] = {}
        """Versions that have been current, the latest last."""

    def __iter__(self) -> Iterator[ServedModel]:
        """All versions that are loaded."""
        for models in (self.current.values(), self.next.values(), *self._older.values()):
            yield from models

    def update(self, loaded: LoadedVersions, towers: Mapping[str, TowerConfig]) -> None:
        """Takes Triton's loaded versions and configurations into account."""
        models = pair_towers(loaded, towers)
        refused = {name: str(error) for name, error in models.items() if isinstance(error, BadModelConfig)}
        self.newly_refused = dict(refused.items() - self.refused.items())
        self.refused = refused
        self._had = {name: versions for name, versions in self._had.items() if name in models}
        for name in models.keys() | self.current.keys():
            spec, fresh = models.get(name), None
            if isinstance(spec, ModelSpec):
                image, text = (towers[tower_name(name, tower)] for tower in TOWERS)
                fresh = ServedModel(spec, image, text)
            older = self._older.pop(name, [])
            older = [old for old in older if is_loaded(old, loaded, towers) and not same_version(old, fresh)]
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
        """Chooses the current and next version of one model; `fresh` is one with both towers loaded."""
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
        """The role of a version that is loaded."""
        current, following = self.current.get(spec.name), self.next.get(spec.name)
        if current is not None and current.spec == spec:
            return "current"
        return "next" if following is not None and following.spec == spec else "older"

    def switch(self, name: str) -> None:
        """Makes the next version of a model current. Calls to the previous one go on."""
        before = self.current.get(name)
        self._put(name, self.next.pop(name))
        if before is not None:
            self._older.setdefault(name, []).append(before)

    def _put(self, name: str, served: ServedModel) -> None:
        self.current[name] = served
        others = [version for version in self._had.get(name, []) if version != served.spec.version]
        self._had[name] = [*others, served.spec.version][-REMEMBERED:]

    def answering(self, spec: ModelSpec) -> ServedModel | None:
        """The version that answers calls for a specification.

        That very version; or, on a Triton that never had it, the same model from another export. A Triton
        that has unloaded the version does not answer: the answers of one call must be of one version.
        """
        current = self.current.get(spec.name)
        for served in (current, self.next.get(spec.name), *self._older.get(spec.name, ())):
            if served is not None and same_export(served.spec, spec):
                return served
        if current is None or spec.version in self._had[spec.name]:
            return None
        # Inputs for one fit the other, and their embeddings can be compared.
        mine, theirs = ((each.fingerprint, each.fixed_text_length) for each in (current.spec, spec))
        return current if mine == theirs else None


def prevailing(having: Sequence[ServedModel], before: ModelSpec | None) -> ServedModel | None:
    """A model as most replicas have it; None if no replica has it.

    Args:
        having: one for each replica.
        before: the version that prevailed before. It stays if as many replicas have another one.
    """
    models = Counter(served.spec.fingerprint for served in having)
    versions = Counter((served.spec.fingerprint, served.spec.version) for served in having)

    def rank(served: ServedModel) -> tuple[int, int, bool]:
        spec = served.spec
        same = before is not None and same_export(before, spec)
        return models[spec.fingerprint], versions[spec.fingerprint, spec.version], same

    return max(having, key=rank, default=None)


def same_export(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether both have the same version and fingerprint."""
    return (one.version, one.fingerprint) == (other.version, other.fingerprint)


def same_version(one: ServedModel, other: ServedModel | None) -> bool:
    """Whether both have the same version number."""
    return other is not None and one.spec.version == other.spec.version


def is_loaded(model: ServedModel, loaded: LoadedVersions, towers: Mapping[str, TowerConfig]) -> bool:
    """Whether Triton still has both towers of a version loaded, with the same files.

    An export without a version number has the same files as long as its configuration stays the same or names
    another version.
    """
    return all(
        tower.version in loaded.get(tower.triton_name, ())
        and (VERSION in tower.parameters or is_unchanged(tower, towers.get(tower.triton_name)))
        for tower in (model.image, model.text)
    )


def is_unchanged(before: TowerConfig, now: TowerConfig | None) -> bool:
    """Whether a configuration without a version number is the same as before, or has a number now."""
    return now is not None and (VERSION in now.parameters or now == before)
