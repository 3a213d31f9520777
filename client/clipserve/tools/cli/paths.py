"""Paths on the command line, with errors that tell what to do."""

from __future__ import annotations

from typing import Any

import click

from clipserve.inputs.text_checks import encoded_kind
from clipserve.safe_text import quoted


class ExistingPath(click.Path):
    """A click.Path with an own error for URLs, data URIs and pictures in base64."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            kind = encoded_kind(value) if isinstance(value, str) else ""
            if not kind:
                raise
            hint = "download it first" if kind == "a URL" else "write it to a file"
            self.fail(f"{quoted(value)} is {kind}, not a path; {hint}, or pipe it to -", param, ctx)
