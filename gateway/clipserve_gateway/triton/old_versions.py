"""Removes versions of a model that no Triton uses any more from the repository."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from clipserve_gateway.triton.model_config import TOWERS, tokenizer_name, tower_name
from clipserve_gateway.triton.parameters import FIRST_FORM, VERSION
from clipserve_gateway.types import ModelSpec

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
KEEP_SECONDS = 30.0
"""How long a new version must be right on every Triton before older ones are removed: calls that started with
them have ended."""
CONFIG = "config.pbtxt"
REMOVED = ".clipserve-export-"
"""Prefix of names in a model's folder that Triton ignores and the next export removes."""

InService = Callable[[], Sequence[ModelSpec]]
"""The versions that are right on every Triton now."""


async def remove_old_versions(repository: Path, in_service: InService) -> None:
    """Removes old versions, forever. Triton unloads a version whose folder is gone."""
    since: dict[ModelSpec, float] = {}
    while True:
        now = time.monotonic()
        since = {spec: since.get(spec, now) for spec in in_service()}
        for spec in [spec for spec, begin in since.items() if now - begin >= KEEP_SECONDS]:
            removed = await asyncio.to_thread(remove_before, repository, spec)
            if removed:
                log.info("model %s: removed version %s from the repository", spec.name, ", ".join(removed))
        await asyncio.sleep(CHECK_SECONDS)


def remove_before(repository: Path, spec: ModelSpec) -> list[str]:
    """Removes the other versions that a model's configurations name; returns them.

    Does nothing while an export runs, if another version has been exported meanwhile, or if the folders
    cannot be written.
    """
    with contextlib.suppress(OSError, text_format.ParseError), locked(repository):
        folders = [repository / tower_name(spec.name, tower) for tower in TOWERS]
        if spec.tokenizer.kind != "openai_bpe":
            folders.append(repository / tokenizer_name(spec.name))
        older = [others_named(folder, spec.version) for folder in folders]
        for folder, versions in zip(folders, older, strict=True):
            for version in versions:
                # Renamed first: Triton must not load a folder that is only partly removed.
                (folder / version).rename(folder / f"{REMOVED}{version}")
                shutil.rmtree(folder / f"{REMOVED}{version}")
        return sorted({version for versions in older for version in versions})
    return []


@contextlib.contextmanager
def locked(repository: Path) -> Iterator[None]:
    """Holds the lock of exports. Raises BlockingIOError while an export runs."""
    handle = os.open(repository, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@functools.lru_cache(maxsize=64)
def versions_of(text: str) -> tuple[str, list[str]]:
    """The version that a configuration describes, and all versions that it names. Takes milliseconds."""
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    described = config.parameters[VERSION].string_value if VERSION in config.parameters else FIRST_FORM
    return described, [str(number) for number in config.version_policy.specific.versions]


def others_named(folder: Path, version: str) -> list[str]:
    """Versions with a folder that the configuration names, except the one that it describes.

    Empty if it describes another one than `version`.
    """
    described, named = versions_of((folder / CONFIG).read_text(encoding="utf-8"))
    if described != version:
        return []
    return [number for number in named if number != version and (folder / number).is_dir()]
