"""The command `clipserve`."""

from __future__ import annotations

import sys
from typing import NoReturn

NEEDED = ("click", "rich", "PIL")
"""Packages of the extra `cli`."""

try:
    from clipserve.tools.cli.app import main
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in NEEDED:
        raise

    def main() -> NoReturn:  # type: ignore[misc]  # stands in for the group of commands
        """Says what to install."""
        sys.exit(f"Error: the command needs {missing}; install it with: pip install 'clipserve[cli]'")


__all__ = ["main"]
