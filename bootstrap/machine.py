"""Facts about this machine: system, processor, memory, disk, compute card."""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000

FAMILIES = {
    "debian": ("debian", "ubuntu"),
    "fedora": ("fedora", "rhel", "centos", "amzn"),
    "suse": ("suse", "sles"),
    "arch": ("arch",),
    "alpine": ("alpine",),
}
"""Families of distributions, by words in ID or ID_LIKE of os-release."""


@dataclass(frozen=True)
class Machine:
    """Facts about one machine; sizes in MB (10^6 bytes)."""

    system: str
    """`Linux`, `Darwin` or `Windows`."""
    architecture: str
    """The kernel's name: `x86_64`, `aarch64`."""
    distribution: str
    """For example `Debian GNU/Linux 12 (bookworm)`."""
    family: str
    """One of FAMILIES, or empty."""
    glibc: tuple[int, int] | None
    """None for other C libraries."""
    processor: str
    cores: int
    """Cores that this process may use."""
    features: frozenset[str]
    """Flags of /proc/cpuinfo; empty if unknown."""
    memory_mb: int
    """Memory that is free now, within the limit of the container."""
    disk_mb: int
    """Free disk space in the project's folder."""
    noexec: bool
    """Whether programs in the project's folder may not run."""
    card: str
    """The NVIDIA driver; empty if there is none."""


def this_machine(root: Path) -> Machine:
    """The facts about this machine; `root` is the project's folder."""
    release = os_release(read("/etc/os-release"))
    cpu = read("/proc/cpuinfo")
    status = os.statvfs(root) if hasattr(os, "statvfs") else None
    return Machine(
        system=platform.system(),
        architecture={"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine()),
        distribution=release.get("PRETTY_NAME") or platform.platform(),
        family=family(release),
        glibc=glibc_version(),
        processor=first(r"model name\s*:\s*(.+)", cpu) or platform.processor() or "unknown processor",
        cores=usable_cores(),
        features=frozenset(first(r"flags\s*:\s*(.+)", cpu).split()),
        memory_mb=free_memory() // MB,
        disk_mb=shutil.disk_usage(root).free // MB,
        noexec=bool(status and status.f_flag & getattr(os, "ST_NOEXEC", 8)),
        card=nvidia_driver(),
    )


def read(path: str | Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def first(pattern: str, text: str) -> str:
    """The first group of the first match, or an empty text."""
    match = re.search(pattern, text)
    return match.group(1).strip() if match else ""


def os_release(text: str) -> dict[str, str]:
    return {key: value.strip("\"'") for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}


def family(release: dict[str, str]) -> str:
    """The family of a distribution; empty if it has none."""
    words = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".split()
    for name, members in FAMILIES.items():
        if any(word.startswith(member) for word in words for member in members):
            return name
    return ""


def glibc_version() -> tuple[int, int] | None:
    """The version of the C library, if it is glibc."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return None
    match = re.fullmatch(r"glibc (\d+)\.(\d+).*", text)
    return (int(match[1]), int(match[2])) if match else None


def usable_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def free_memory() -> int:
    """Free bytes, within the limit of the control group."""
    available = int(first(r"MemAvailable:\s*(\d+) kB", read("/proc/meminfo")) or 0) * 1024
    room = [available] if available else []
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, now = read(limit).strip(), read(used).strip()
        if most.isdigit() and now.isdigit():
            room.append(max(0, int(most) - int(now)))
    return min(room, default=0)


def nvidia_driver() -> str:
    """The version or a file of the NVIDIA driver; empty if there is none."""
    version = first(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", read("/proc/driver/nvidia/version"))
    if version:
        return f"NVIDIA driver {version}"
    for path in ("/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1", "/dev/nvhost-ctrl"):
        if Path(path).exists():
            return f"NVIDIA driver ({path})"
    return ""
