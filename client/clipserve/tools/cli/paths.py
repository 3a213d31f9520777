"""Paths on the command line: what is there, or an error in few words that says what to do."""

from __future__ import annotations

from typing import Any

import click

from clipserve.inputs.text_checks import encoded_kind
from clipserve.safe_text import quoted


class ExistingPath(click.Path):
    """See click.Path. A URL, a data URI or a picture in base64 is named as that."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click; click.BadParameter."""
        kind = encoded_kind(value) if isinstance(value, str) else ""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            if not kind:
                raise
            hint = "URLs are not fetched: download it first" if kind == "a URL" else "write it to a file"
            self.fail(f"{quoted(value)} is {kind}, not a path; {hint}, or pipe it to -", param, ctx)
