"""Old versions of a model leave the repository once the new one answers right everywhere."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from clipserve_exporter.versions import policy_of, served_version, versioned
from clipserve_gateway.triton import old_versions
from clipserve_gateway.triton.old_versions import remove_before, remove_old_versions
from clipserve_gateway.types import ModelSpec, TokenizerSpec

from testing.fakes import SPEC


def spec(version: str) -> ModelSpec:
    return ModelSpec(**{**vars(SPEC), "version": version})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model in version 7; 5 serves beside it, and somebody has put 9 there."""
    for tower in ("fake_image", "fake_text"):
        for version in ("5", "7", "9"):
            (tmp_path / tower / version).mkdir(parents=True)
            (tmp_path / tower / version / "model.pt").write_text(version)
        config = versioned(f'name: "{tower}"\n', "7", ["5"])
        (tmp_path / tower / "config.pbtxt").write_text(config)
    return tmp_path


def folders(repository: Path) -> list[set[str]]:
    return [
        {path.name for path in (repository / tower).iterdir() if path.is_dir()}
        for tower in ("fake_image", "fake_text")
    ]


def test_the_versions_that_were_served_beside_it_are_removed_and_the_configuration_stays(repository):
    before = (repository / "fake_text" / "config.pbtxt").read_text()
    assert remove_before(repository, spec("7")) == ["5"]
    assert folders(repository) == [{"7", "9"}] * 2
    assert (repository / "fake_text" / "config.pbtxt").read_text() == before
    assert (policy_of(before), served_version(repository / "fake_text")) == (["5", "7"], "7")
    assert remove_before(repository, spec("7")) == []


@pytest.mark.parametrize("version", ["5", "8"])
def test_nothing_is_removed_for_a_version_that_the_configuration_does_not_describe(repository, version):
    assert remove_before(repository, spec(version)) == []
    assert folders(repository) == [{"5", "7", "9"}] * 2


def test_old_versions_of_the_tokenizer_leave_with_those_of_the_towers(repository):
    shutil.copytree(repository / "fake_text", repository / "fake_tokenizer")
    assert remove_before(repository, spec("7")) == ["5"]
    assert (repository / "fake_tokenizer" / "5").is_dir(), "the model does not use it"
    own = dataclasses.replace(spec("7"), tokenizer=TokenizerSpec(77, kind="huggingface"))
    assert remove_before(repository, own) == ["5"]
    assert not (repository / "fake_tokenizer" / "5").exists()


def test_nothing_is_removed_while_an_export_is_at_work_or_the_configuration_cannot_be_read(repository):
    handle = os.open(repository, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert remove_before(repository, spec("7")) == []
    os.close(handle)
    (repository / "fake_text" / "config.pbtxt").write_text("name: {{{")
    assert remove_before(repository, spec("7")) == []
    assert folders(repository) == [{"5", "7", "9"}] * 2


async def test_they_go_when_the_new_version_has_answered_right_for_a_while(repository, monkeypatch):
    clock, looks = [0.0], asyncio.Semaphore(0)
    monkeypatch.setattr(old_versions, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(old_versions, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    answers: list[list[ModelSpec]] = []

    def in_service() -> list[ModelSpec]:
        looks.release()
        return answers[-1]

    async def look(seconds: float, *specs: ModelSpec) -> list[set[str]]:
        """What is there after a look at this time, and the next one."""
        clock[0] = seconds
        answers.append(list(specs))
        for _ in range(2 + looks._value):
            await looks.acquire()
        return folders(repository)

    answers.append([])
    removing = asyncio.create_task(remove_old_versions(repository, in_service))
    everything = [{"5", "7", "9"}] * 2
    try:
        assert await look(0, spec("7")) == everything
        assert await look(29, spec("7")) == everything
        assert await look(31) == everything, "it was out of service: the while begins again"
        assert await look(32, spec("7")) == everything
        assert await look(61, spec("7")) == everything
        assert await look(63, spec("7")) == [{"7", "9"}] * 2
    finally:
        removing.cancel()
