"""Sixty-four callers with bombs: memory stays below what the settings say, and others are answered."""

from __future__ import annotations

import pytest

from testing.hostile.bombs import bombs, bound, clear_peak, memory, raid, until_serving
from testing.service import Service, start_gateway

THREADS, PIXELS, CALLERS = 2, 16_000_000, 64


@pytest.mark.slow
async def test_memory_follows_from_the_settings(live: Service, tmp_path):
    options = ("--decode-threads", str(THREADS), "--max-image-pixels", str(PIXELS), "--default-model", "demo")
    gateway = start_gateway(live.triton, str(tmp_path / "data"), tmp_path, *options)
    try:
        pid = gateway.process.pid
        await until_serving(gateway.address)
        await raid(gateway.address, bombs(1_000_000), 4, timeout=60)
        clear_peak(pid)
        idle = memory(pid, "VmRSS")
        found = await raid(gateway.address, bombs(PIXELS), CALLERS, timeout=300)
        took = memory(pid, "VmHWM") - idle
        assert found.codes == {"OK": CALLERS}
        assert took < bound(THREADS, PIXELS, found.request_bytes)
        assert took > 12 * PIXELS, "the bombs were duds"
        assert len(found.waits) > 10, "others were kept waiting"
    finally:
        assert gateway.stop() == 0
