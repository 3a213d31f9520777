from __future__ import annotations

from types import SimpleNamespace

import pytest
from clipserve_gateway.flow import presence
from clipserve_gateway.flow.presence import RECENT_SECONDS, Presence


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(presence.time, "monotonic", lambda: clock.now)
    return clock


def test_interactive_work_is_expected_while_there_is_some_and_for_a_while_after(clock):
    seen = Presence()
    assert not seen.recent
    with seen.counted(True):
        clock.now += 2 * RECENT_SECONDS
        assert seen.recent, "however long a call takes"
    clock.now += RECENT_SECONDS - 1
    assert seen.recent
    clock.now += 2
    assert not seen.recent


def test_bulk_work_does_not_count(clock):
    seen = Presence()
    with seen.counted(False):
        assert not seen.recent
    assert not seen.recent
