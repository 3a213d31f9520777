"""Any filter has the same meaning on every engine as in Python."""

from __future__ import annotations

import asyncio
import datetime as dt

import numpy as np
import pytest
from clipserve_gateway.index.values import And, Eq, In, Not, Or, PayloadType, Point, Range, TableSpec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testing.memory_engine import matches

UTC = dt.timezone.utc
SCHEMA = {
    "Select": PayloadType.STRING,
    "year": PayloadType.INT,
    "price": PayloadType.DOUBLE,
    "sold": PayloadType.BOOL,
    "taken": PayloadType.TIMESTAMP,
    "tags": PayloadType.STRING_LIST,
}
ROWS = TableSpec("c_rows", 2, SCHEMA)
# Few values, so that comparisons are often true, and difficult ones, to test literals.
TEXTS = ["", "a", "B", "é", "'", "''; --", "\\", '"', "ab", "🐈", "\ufffd", "null", "\n"]
VALUES = {
    "Select": st.sampled_from(TEXTS),
    "year": st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1, 2**53]),
    "price": st.sampled_from([0.0, -0.0, 1.5, -1e308, 1e308, 5e-324, 0.1]),
    "sold": st.booleans(),
    "taken": st.sampled_from(
        [dt.datetime(y, 1, 1, 0, 0, 0, us, UTC) for y in (1, 1969, 2026) for us in (0, 1)]
    ),
}
PAYLOADS = st.fixed_dictionaries({}, optional=VALUES | {"tags": st.lists(VALUES["Select"], max_size=3)})
OPERANDS = VALUES | {"tags": VALUES["Select"]}


@st.composite
def comparisons(draw):
    field = draw(st.sampled_from(list(SCHEMA)))
    kind = draw(st.sampled_from(["eq", "in", "range"]))
    operand = OPERANDS[field]
    if kind == "in":
        return In(field, tuple(draw(st.lists(operand, min_size=1, max_size=3))))
    if kind == "range" and SCHEMA[field] not in (PayloadType.BOOL, PayloadType.STRING_LIST):
        low, high = draw(st.sampled_from(["gt", "gte"])), draw(st.sampled_from(["lt", "lte"]))
        bounds = draw(st.sampled_from([(low,), (high,), (low, high)]))
        return Range(field, **{bound: draw(operand) for bound in bounds})
    return Eq(field, draw(operand))


FILTERS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Or(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def collection(opener, loop):
    """A table of many payloads, and those payloads by id."""
    payloads: list[dict] = []

    @settings(max_examples=150, derandomize=True, database=None)
    @given(PAYLOADS)
    def collect(payload):
        payloads.append(payload)

    collect()
    engine = opener()
    points = [Point(str(i), payload, np.array([1, 0], np.float32)) for i, payload in enumerate(payloads)]
    loop.run_until_complete(engine.create_table(ROWS))
    loop.run_until_complete(engine.upsert(ROWS, points))
    yield engine, {point.id: point.payload for point in points}
    loop.run_until_complete(engine.drop_table(ROWS.name))
    loop.run_until_complete(engine.close())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILTERS)
def test_a_filter_finds_what_it_means(collection, loop, filter):
    engine, payloads = collection
    query = np.array([1, 0], np.float32)
    hits = loop.run_until_complete(
        engine.search(ROWS, query, top_k=1000, filter=filter, with_payload=False, consistent=True)
    )
    expected = {id for id, payload in payloads.items() if matches(filter, payload)}
    assert {hit.id for hit in hits} == expected
    assert loop.run_until_complete(engine.count(ROWS, filter)) == len(expected)
