"""What can go wrong in an export, said in one sentence to the person who asked for it."""

from __future__ import annotations


class ExportError(Exception):
    """The model cannot be exported; the message says why and, where there is one, the way out.

    Nothing has been written when it is raised.
    """
