"""What many dear images at once take of a gateway's memory, beside what they may take."""

from __future__ import annotations

import statistics

from clipserve_gateway.process.cores import available_cores

from bench.fuzz.report import console
from bench.fuzz.target import MIB, Target
from testing.hostile.bombs import bombs, bound, clear_peak, raid

TIMEOUT = 1_800.0


async def measure_bombs(target: Target, callers: int, pixels: int) -> bool:
    """Whether the gateway's memory stayed in bounds; those of its defaults for decode_threads."""
    await raid(target.address, bombs(1_000_000), 4, timeout=TIMEOUT)
    if target.pid:
        clear_peak(target.pid)
    idle = target.memory("VmRSS")
    found = await raid(target.address, bombs(pixels), callers, timeout=TIMEOUT)
    peak, last = target.memory("VmHWM"), target.memory("VmRSS")
    most = idle + bound(available_cores(), pixels, found.request_bytes)
    ended = ", ".join(f"{number} {code}" for code, number in found.codes.most_common())
    console.print(f"{callers} callers with {pixels:,} pixels each: {ended}, in {found.seconds:.0f} s")
    console.print(
        f"a small picture meanwhile: {statistics.median(found.waits):.2f} s in the middle, "
        f"{max(found.waits):.2f} s at most, {len(found.waits)} times"
    )
    if not target.pid:
        return True
    console.print(
        f"memory in MiB: {idle // MIB} idle, {peak // MIB} at most, {last // MIB} afterwards; "
        f"bound {most // MIB}: {'pass' if peak <= most else 'FAIL'}"
    )
    return peak <= most
