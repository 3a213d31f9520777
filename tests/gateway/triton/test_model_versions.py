"""Which version of a model is in service while Triton loads and unloads others."""

from __future__ import annotations

from clipserve_gateway.triton.model_versions import ModelVersions
from clipserve_gateway.triton.parameters import TowerConfig
from clipserve_gateway.types import ModelSpec

from testing.fakes import towers

NEW = "0" * 64


class Swap:
    """One Triton's towers, one after the other."""

    def __init__(self) -> None:
        self.versions = ModelVersions()
        self.towers: dict[str, TowerConfig] = {}
        self.loaded: dict[str, set[str]] = {}

    def load(self, tower: str, *versions: str, **changes: str) -> None:
        """The state of one tower: what it has loaded, and the configuration of the last."""
        name = f"fake_{tower}"
        if versions[-1] != "1":
            changes["model_version"] = versions[-1]
        config = next(it for it in towers(**changes) if it.triton_name == name)
        self.towers[name], self.loaded[name] = config, set(versions)

    def update(self) -> ModelVersions:
        self.versions.update(self.loaded, self.towers)
        return self.versions

    def current(self) -> ModelSpec | None:
        found = self.update().current.get("fake")
        return None if found is None else found.spec


def served(*versions: str) -> Swap:
    """A model in service, in the first form or a version."""
    swap = Swap()
    for tower in ("image", "text"):
        swap.load(tower, *versions)
    assert swap.current() is not None
    return swap


def test_the_old_version_serves_until_the_new_one_is_loaded_whole_and_taken():
    swap = served("5")
    old = swap.current()
    swap.load("image", "5", "6", fingerprint=NEW)
    assert swap.current() == old
    assert not swap.versions.next, "half of it is none"
    swap.load("text", "5", "6", fingerprint=NEW)
    assert swap.current() == old
    new = swap.versions.next["fake"].spec
    assert (new.version, new.fingerprint) == ("6", NEW)
    swap.versions.switch("fake")
    assert swap.current() == new
    assert not swap.versions.next
    assert {it.spec for it in swap.versions} == {old, new}


def test_calls_for_the_old_version_are_answered_by_it_as_long_as_it_is_loaded():
    swap = served("5")
    old = swap.current()
    for tower in ("image", "text"):
        swap.load(tower, "5", "6", fingerprint=NEW)
    swap.update().switch("fake")
    found = swap.versions.answering(old)
    assert found is not None
    assert found.spec == old
    swap.load("text", "6", fingerprint=NEW)
    assert swap.update().answering(old) is None, "never by other weights"


def test_where_the_old_version_goes_first_none_serves_until_the_new_one_is_whole():
    swap = served("5")
    swap.load("image", "6", fingerprint=NEW)
    assert swap.current() is None
    swap.load("text", "6", fingerprint=NEW)
    current = swap.current()
    assert current is not None
    assert current.version == "6"


def test_an_export_without_a_version_serves_until_one_with_a_version_does():
    swap = served("1")
    old = swap.current()
    swap.load("image", "1", "6", fingerprint=NEW)
    assert swap.current() == old
    swap.load("text", "1", "6", fingerprint=NEW)
    assert swap.current() == old
    assert swap.versions.next["fake"].spec.version == "6"


def test_an_export_without_a_version_that_changes_in_place_is_not_trusted_half_way():
    swap = served("1")
    swap.load("image", "1", fingerprint=NEW)
    assert swap.current() is None, "version 1 may be the old weights or the new ones"
    swap.load("text", "1", fingerprint=NEW)
    current = swap.current()
    assert current is not None
    assert current.fingerprint == NEW


def test_a_bad_configuration_of_the_new_version_leaves_the_old_one_in_service():
    swap = served("5")
    old = swap.current()
    for tower in ("image", "text"):
        swap.load(tower, "5", "6", embed_dim="many")
    assert swap.current() == old
    assert "embed_dim" in swap.versions.newly_refused["fake"]
    assert not swap.update().newly_refused, "it is told once"


def test_the_same_model_of_another_export_answers_where_a_version_was_never_there():
    swap = served("5")
    other = parse("9")
    found = swap.versions.answering(other)
    assert found is not None
    assert found.spec.version == "5", "and the request names the version that answers"
    assert swap.versions.answering(parse("9", fingerprint=NEW)) is None
    assert swap.versions.answering(parse("9", text_length="fixed")) is None, "its inputs do not fit"


def parse(version: str, **changes: str) -> ModelSpec:
    swap = Swap()
    for tower in ("image", "text"):
        swap.load(tower, version, **changes)
    spec = swap.current()
    assert spec is not None
    return spec


def test_back_to_the_version_before():
    swap = served("5")
    old = swap.current()
    for tower in ("image", "text"):
        swap.load(tower, "5", "6", fingerprint=NEW)
    swap.update().switch("fake")
    for tower in ("image", "text"):
        swap.load(tower, "6", "5")
    swap.update()
    assert swap.versions.next["fake"].spec == old
    swap.versions.switch("fake")
    assert swap.current() == old


def test_a_model_that_triton_lists_no_more_is_forgotten():
    swap = served("5")
    swap.towers, swap.loaded = {}, {}
    assert swap.current() is None
    assert list(swap.versions) == []
