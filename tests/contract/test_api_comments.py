"""The committed comments are those of the protos."""

from __future__ import annotations

from testing.api_comments import TARGET, made


def test_the_comments_are_those_of_the_protos() -> None:
    assert TARGET.read_text() == made(), "run `make protos`"
