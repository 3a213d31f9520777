"""Errors of backups and restores."""

from __future__ import annotations


class BackupError(Exception):
    """No backup was made or nothing was restored; the message says why and what to do."""
