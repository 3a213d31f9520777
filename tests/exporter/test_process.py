"""Threads and memory of a process that runs a tower."""

from __future__ import annotations

import pytest
from clipserve_exporter.backend import clipserve_process
from clipserve_exporter.backend.clipserve_process import bound_memory, threads_of


@pytest.mark.parametrize(
    ("setting", "counts", "threads"),
    [
        ("0", [1], 5),
        ("0", [2], 2),
        ("3", [2], 3),
        ("split", [1], 5),
        ("split", [2], 2),
        ("split", [1, 2], 1),
        ("split", [9], 1),
    ],
)
def test_an_instance_has_the_threads_that_are_set_or_an_equal_part_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, setting: str, counts: list[int], threads: int
) -> None:
    monkeypatch.setattr(clipserve_process, "granted_cores", lambda: 5)
    assert threads_of(setting, [{"count": count} for count in counts]) == threads


@pytest.mark.parametrize(("largest", "kept"), [(1, None), (16, None), (17, "0"), (64, "0")])
def test_scratch_memory_is_not_kept_for_many_batch_sizes(largest: int, kept: str | None) -> None:
    environment: dict[str, str] = {}
    bound_memory(largest, environment)
    assert environment.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY") == kept
    environment = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}
    bound_memory(largest, environment)
    assert environment == {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}
