"""Checks that other users cannot write the model repository: Triton runs the programs in it."""

from __future__ import annotations

from pathlib import Path

from clipserve_gateway.process.file_modes import writable_by_others

FLAG = "--trust-model-repository"


class RepositoryUnsafe(Exception):
    """Other users can write the model repository; the message has the reason and the remedy."""


def check_repository(repository: Path, *, trusted: bool) -> None:
    """Raises RepositoryUnsafe if other users can change a model, unless `trusted`."""
    reason = "" if trusted else writable_by_others(repository)
    if reason:
        raise RepositoryUnsafe(
            f"The model repository {repository} is not safe to serve: {reason}. Its models are programs that "
            "Triton runs as this user.\n· Make this user or root its owner and run `chmod -R o-w` on it; or "
            f"use {FLAG} if you trust all users who can write it."
        )
