"""Where points are kept and found: one small protocol, and the engines that implement it."""

from __future__ import annotations

from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.lance import LanceEngine


def open_engine(uri: str) -> Engine:
    """The engine for a folder or an object storage URI. Nothing is opened before its first use."""
    return LanceEngine(uri)
