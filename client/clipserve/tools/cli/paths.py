"""Paths on the command line, with errors that tell what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from clipserve.inputs.text_checks import encoded_kind
from clipserve.safe_text import quoted


class ExistingPath(click.Path):
    """A click.Path with an own error for URLs, data URIs and pictures in base64."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            kind = encoded_kind(value) if isinstance(value, str) else ""
            if not kind:
                raise
            hint = "URLs are not fetched: download it first" if kind == "a URL" else "write it to a file"
            self.fail(f"{quoted(value)} is {kind}, not a path; {hint}, or pipe it to -", param, ctx)


class OutputFile(click.Path):
    """A file to write. With suffixes, its name must end in one of them."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(path_type=Path, dir_okay=False, writable=True)
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if self.suffixes and path.suffix not in self.suffixes:
            self.fail(f"{path.name} must end in {' or '.join(self.suffixes)}", param, ctx)
        return path
