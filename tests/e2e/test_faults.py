"""The quick rows of the fault matrix, as `make faults` runs them: each promise holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import faults.rows  # noqa: F401  (enters the rows)
from faults.fault_env import FaultEnv
from faults.row import ROWS, Row, promises

SHORT = ("caller-gone", "triton-killed")
QUICK = [
    pytest.param(row, id=row.name, marks=[] if row.name in SHORT else pytest.mark.slow)
    for row in ROWS.values()
    if row.quick
]


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultEnv]:
    """A service for the rows that do not break it."""
    env = FaultEnv(tmp_path_factory.mktemp("common"))
    yield env
    env.close()


def broken(row: Row, env: FaultEnv) -> list[str]:
    """The promises that were not kept."""
    try:
        return [f"{it.what}: {it.seen}" for it in promises(row, env) if not it.kept]
    finally:
        env.close()


@pytest.mark.parametrize("row", QUICK)
def test_every_promise_of_a_quick_row_holds(row, common, tmp_path):
    if broken(row, FaultEnv(tmp_path / "first", common=common)):
        # Other work on the machine may have taken the time that calls are promised.
        assert broken(row, FaultEnv(tmp_path / "second", common=common)) == []
