"""The command `clipserve`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

EXTRA_PACKAGES = ("click", "rich", "PIL")
"""Packages of the extra `cli`."""

# The command prints its own errors. gRPC reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

try:
    from clipserve.tools.cli.app import main
except KeyboardInterrupt:
    sys.exit(130)
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in EXTRA_PACKAGES:
        raise

    def main() -> NoReturn:  # type: ignore[misc]  # replaces the group of commands
        sys.exit(f"Error: the command needs {missing}; install it with: pip install 'clipserve[cli]'")


__all__ = ["main"]
