"""The error of a failed export."""

from __future__ import annotations


class ExportError(Exception):
    """The model cannot be exported. The message tells the user the cause and, if there is one, the remedy.

    Nothing has been written when it is raised.
    """
