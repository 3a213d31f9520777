"""The log of `make torture` becomes histories that the checker can judge."""

from __future__ import annotations

import json

import pytest

from bench.torture.history import histories
from faults.linear import unexplained


@pytest.fixture
def bad_keys(tmp_path):
    """Writes a log; the keys whose histories nothing explains."""

    def check(*lines: dict) -> list[str]:
        (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return unexplained(histories(tmp_path / "log"))

    return check


def settled(**serials):
    return {"settled": {f"0-{name[1:]}": serial for name, serial in serials.items()}, "documents": {}}


def intent(kind, serial, *ids, **more):
    return {"kind": kind, "worker": "0", "serial": serial, "ids": [f"0-{id}" for id in ids], **more}


ACK = {"ack": "0"}


def test_acknowledged_operations_must_be_found_after_a_kill(bad_keys):
    begin = [settled(n1=0, n2=0), intent("upsert", 8, 1), ACK]
    assert bad_keys(*begin, settled(n1=8, n2=0)) == []
    assert bad_keys(*begin, settled(n1=0, n2=0)) == ["0-1"]


def test_an_operation_under_way_may_have_happened_or_not_but_stays_as_it_was(bad_keys):
    begin = [settled(n1=0), intent("upsert", 8, 1)]
    assert bad_keys(*begin, settled(n1=0)) == []
    assert bad_keys(*begin, settled(n1=8)) == []
    assert bad_keys(*begin, settled(n1=8), settled(n1=0)) == ["0-1"]


def test_inserts_and_deletes_by_filter_depend_on_what_was_there(bad_keys):
    begin = [settled(n1=7, n2=1), intent("insert", 9, 1, 3), ACK]
    assert bad_keys(*begin, settled(n1=7, n2=1, n3=9)) == []
    assert bad_keys(*begin, settled(n1=9, n2=1, n3=9)) == ["0-1"]
    # 7 is of group 0, and 1 of group 1.
    deleted = {"kind": "delete where", "worker": "0", "serial": 10, "group": 0}
    assert bad_keys(*begin, deleted, ACK, settled(n1=None, n2=1, n3=9)) == []
    assert bad_keys(*begin, deleted, ACK, settled(n1=7, n2=None, n3=9)) == ["0-1", "0-2"]
