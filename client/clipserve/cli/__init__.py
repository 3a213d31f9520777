"""The command `clipserve`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command; says what to install where the extra `cli` is missing."""
    try:
        from clipserve.cli.app import cli
    except ModuleNotFoundError as error:
        if error.name in ("click", "rich", "PIL"):
            sys.exit(f"Error: the command needs {error.name}; install it with: pip install 'clipserve[cli]'")
        raise
    cli(prog_name="clipserve")
