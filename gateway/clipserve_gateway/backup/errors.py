"""What goes wrong with backups, in one sentence each."""

from __future__ import annotations


class BackupError(Exception):
    """No backup was made, or nothing was restored; the message says why and what to do."""
