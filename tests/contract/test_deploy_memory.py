"""A gateway's pod has the memory that its settings may take."""

from __future__ import annotations

from typing import Any

from clipserve_gateway.settings import Settings

from testing.hostile.bombs import bound

IDLE = 350 << 20
UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}


def test_the_gateways_memory_holds_what_its_settings_allow(manifests: Any) -> None:
    limits = manifests.container("gateway")["resources"]["limits"]
    memory = int(limits["memory"][:-2]) * UNITS[limits["memory"][-2:]]
    names = {name.removeprefix("CLIPSERVE_").lower(): value for name, value in manifests.settings.items()}
    settings = Settings(**{name: value for name, value in names.items() if name in Settings.model_fields})
    threads = settings.decode_threads or int(limits["cpu"])
    takes = bound(threads, settings.max_image_pixels, 0) + settings.max_held_bytes
    assert IDLE + settings.label_cache_bytes + takes <= memory
