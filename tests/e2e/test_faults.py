"""The quick rows of the fault matrix, as `make faults` runs them: each promise holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import faults.rows  # noqa: F401  (enters the rows)
from faults.place import Place
from faults.row import ROWS

QUICK = [row for row in ROWS.values() if row.quick]


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service for the rows that do not break it."""
    place = Place(tmp_path_factory.mktemp("common"))
    yield place
    place.close()


@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.name)
def test_every_promise_of_a_quick_row_holds(row, common, tmp_path):
    place = Place(tmp_path, common=common)
    try:
        promises = list(row.run(place))
    finally:
        place.close()
    assert promises
    assert [f"{it.what}: {it.seen}" for it in promises if not it.kept] == []
