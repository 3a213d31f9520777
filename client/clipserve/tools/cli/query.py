"""The query of `clipserve search`: a text, a picture or a point, and further weighted texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from clipserve.types import Weighted


@dataclass(frozen=True)
class Query:
    """At most one of text, image and like, and texts with weight +1 (plus) and −1 (minus)."""

    text: str | None
    image: Path | bytes | None
    like: str | None
    plus: tuple[str, ...]
    minus: tuple[str, ...]

    def check(self) -> None:
        """Raises click.UsageError for a query without parts, or with more than one main part."""
        texts = {"TEXT": (self.text,), "--plus": self.plus, "--minus": self.minus}
        for option, values in texts.items():
            if any(value is not None and not value.strip() for value in values):
                raise click.UsageError(f"{option} is empty; write what to search for")
        given = sum(one is not None for one in (self.text, self.image, self.like))
        if given > 1:
            raise click.UsageError(
                "give only one of TEXT, --image and --like; add further texts with --plus and --minus"
            )
        if not given and self.minus and not self.plus:
            raise click.UsageError("--minus needs something to search for; add TEXT or --plus")
        if not given and not self.plus:
            raise click.UsageError("give what to search for: TEXT, --image or --like")

    @property
    def parts(self) -> list[Weighted]:
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
        if not self.is_single:
            return {"weighted": self.parts}
        [part] = self.parts
        return {"text": part.text, "image": part.image, "like": part.like}

    def title(self) -> str:
        added = [
            *([f"“{self.text}”"] if self.text is not None else []),
            *([f"like {image_name(self.image)}"] if self.image is not None else []),
            *([f"like {self.like}"] if self.like is not None else []),
            *(f"“{text}”" for text in self.plus),
        ]
        return " + ".join(added) + "".join(f" − “{text}”" for text in self.minus)


def image_name(image: Path | bytes) -> str:
    return image.name if isinstance(image, Path) else "the picture on standard input"
