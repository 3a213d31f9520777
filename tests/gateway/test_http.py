"""The HTTP port's pages."""

from __future__ import annotations

import asyncio
import threading
import time

from clipserve_gateway import http


async def test_a_loop_that_works_has_nothing_wrong():
    assert await asyncio.to_thread(http.loop_check(asyncio.get_running_loop())) == ""


async def test_a_loop_that_is_stuck_is_told(monkeypatch):
    monkeypatch.setattr(http, "ALIVE_SECONDS", 0.05)
    check = http.loop_check(asyncio.get_running_loop())
    found = []
    thread = threading.Thread(target=lambda: found.append(check()))
    thread.start()
    time.sleep(0.3)
    thread.join()
    assert [bool(wrong) for wrong in found] == [True]
