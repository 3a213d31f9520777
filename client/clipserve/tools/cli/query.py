"""What `clipserve search` looks for: a text, a picture or a point, and texts that weigh with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from clipserve.types import Weighted


@dataclass(frozen=True)
class Query:
    """One of text, image and like (or none of them where `plus` says enough), and what weighs with it."""

    text: str | None
    image: Path | bytes | None
    like: str | None
    plus: tuple[str, ...]
    minus: tuple[str, ...]

    def check(self) -> None:
        """click.UsageError for what says nothing, or too much."""
        texts = {"TEXT": (self.text,), "--plus": self.plus, "--minus": self.minus}
        for option, values in texts.items():
            if any(value is not None and not value.strip() for value in values):
                raise click.UsageError(f"{option} is empty; write what to search for")
        given = sum(one is not None for one in (self.text, self.image, self.like))
        if given > 1:
            raise click.UsageError(
                "search with one of TEXT, --image and --like; add further texts with --plus and --minus"
            )
        if not given and self.minus and not self.plus:
            raise click.UsageError(
                "--minus leads away from something; say with TEXT or --plus what to look for"
            )
        if not given and not self.plus:
            raise click.UsageError("search with a TEXT, with --image or with --like, one of them")

    @property
    def parts(self) -> list[Weighted]:
        """All parts with their weights."""
        return [
            *([Weighted(1, text=self.text)] if self.text is not None else []),
            *([Weighted(1, image=self.image)] if self.image is not None else []),
            *([Weighted(1, like=self.like)] if self.like is not None else []),
            *(Weighted(1, text=text) for text in self.plus),
            *(Weighted(-1, text=text) for text in self.minus),
        ]

    @property
    def is_single(self) -> bool:
        """Whether there is one part. Only such queries get percentiles."""
        return len(self.parts) == 1

    def arguments(self) -> dict[str, Any]:
        """The arguments of Client.search."""
        if not self.is_single:
            return {"weighted": self.parts}
        [part] = self.parts
        return {"text": part.text, "image": part.image, "like": part.like}

    def title(self) -> str:
        """The query in words."""
        plus = [
            *([f"“{self.text}”"] if self.text is not None else []),
            *([f"like {image_name(self.image)}"] if self.image is not None else []),
            *([f"like {self.like}"] if self.like is not None else []),
            *(f"“{text}”" for text in self.plus),
        ]
        return " + ".join(plus) + "".join(f" − “{text}”" for text in self.minus)


def image_name(image: Path | bytes) -> str:
    """What a picture is called: its file's name."""
    return image.name if isinstance(image, Path) else "the picture on standard input"
