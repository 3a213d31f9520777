"""The model repository holds programs: whoever can write it has Triton run them."""

from __future__ import annotations

from pathlib import Path

from clipserve_gateway.process.file_modes import writable_by_others

FLAG = "--trust-model-repository"


class RepositoryUnsafe(Exception):
    """Others can write the model repository; the message says the reason and the remedy."""


def check_repository(repository: Path, *, trusted: bool) -> None:
    """RepositoryUnsafe where other users could change a model, unless the operator trusts them."""
    why = "" if trusted else writable_by_others(repository)
    if why:
        raise RepositoryUnsafe(
            f"The model repository {repository} is not safe to serve: {why}. Its models are programs that "
            f"Triton runs as this user.\n· Let it belong to this user or root, and `chmod -R o-w` it; or say "
            f"{FLAG} if you trust all who can write it."
        )
