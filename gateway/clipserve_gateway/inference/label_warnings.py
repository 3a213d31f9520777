"""Warnings about labels: which are the same text for the model, and which are truncated."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from clipserve_gateway.errors import DeadlineExceeded, InferenceFailed, ModelLoading
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inputs.tokenizer import tokenizer_for
from clipserve_gateway.types import LabelSet, TokenizerSpec, Tokens

DEFAULT = TokenizerSpec(context_length=77)
"""CLIP's tokenizer, for label sets that are stored while no model is served."""
WARNINGS = 16
"""Most warnings for a label set."""
NAMED = 3
"""Most labels that a message names."""
NAME_LENGTH = 60
"""Most characters of a label in a message."""
CHARACTERS_ON_LOOP = 512
"""Up to this many characters of all labels are checked on the event loop: about 0.5 ms."""
LABELS_AT_ONCE = 100
"""Labels that are tokenized between two checks of the deadline."""
BRIEF_SECONDS = 10.0
Encode: TypeAlias = Callable[[Sequence[str]], Iterator[Tokens]]


@dataclass(frozen=True)
class LabelWarning:
    """A warning about labels.

    Attributes:
        reason: `same`: the labels are the same text for the model, and share one probability. `cut`: prompts
            of the labels are longer than the model's context, and are truncated. Empty: there was no check.
        labels: positions in the label set's names, ascending; empty for the prompts of none of the above.
    """

    reason: Literal["same", "cut", ""]
    labels: tuple[int, ...]
    message: str


async def find_warnings_briefly(labels: LabelSet, spec: TokenizerSpec) -> tuple[LabelWarning, ...]:
    """The warnings, or a message that the labels cannot be checked now."""
    try:
        return await find_warnings(labels, spec, Deadline.after(BRIEF_SECONDS))
    except DeadlineExceeded:
        return (LabelWarning("", (), "the text is too long to check for equal or truncated labels"),)
    except (ModelLoading, InferenceFailed) as error:
        return (LabelWarning("", (), f"equal or truncated labels are not checked: {error.message}"),)


async def find_warnings(
    labels: LabelSet, spec: TokenizerSpec, deadline: Deadline
) -> tuple[LabelWarning, ...]:
    """The warnings for a model with this tokenizer, at most WARNINGS.

    Raises DeadlineExceeded, and the errors of `tokenizer_for` and `Tokenizer.encode`.

    Takes about 50 µs for a label, and up to 15 ms for 4 KiB. Many or long labels are checked in a thread.
    """
    if tokenizer_for(spec).executor is None and sum(map(len, labels.names)) <= CHARACTERS_ON_LOOP:
        return label_warnings(labels, spec, deadline)
    return await asyncio.to_thread(label_warnings, labels, spec, deadline)


def label_warnings(
    labels: LabelSet, spec: TokenizerSpec, deadline: Deadline | None = None
) -> tuple[LabelWarning, ...]:
    """See find_warnings."""
    tokenizer = tokenizer_for(spec)

    def encode(texts: Sequence[str]) -> Iterator[Tokens]:
        for first in range(0, len(texts), LABELS_AT_ONCE):
            if deadline is not None:
                deadline.check("tokenize")
            yield from tokenizer.encode(texts[first : first + LABELS_AT_ONCE])

    cut = truncated_labels(labels, spec.context_length, tokenizer.safe_bytes, encode)
    warnings = [*cut, *same_labels(labels, encode)]
    if len(warnings) <= WARNINGS:
        return tuple(warnings)
    rest = warnings[WARNINGS - 1 :]
    positions = tuple(sorted(position for warning in rest for position in warning.labels))
    message = f"there are {len(rest)} more groups of labels that are the same text to the model"
    return (*warnings[: WARNINGS - 1], LabelWarning("same", positions, message))


def same_labels(labels: LabelSet, encode: Encode) -> list[LabelWarning]:
    """Groups of labels whose prompts have the same token ids."""
    # The shortest template leaves most of the context for the labels' differences.
    template = min(labels.templates, key=len)
    prompts = [template.replace("{}", name) for name in labels.names]
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for i, tokens in enumerate(encode(prompts)):
        groups[tokens.ids.tobytes()].append(i)
    return [
        LabelWarning(
            "same",
            tuple(group),
            f"{named(labels, group)} are the same text to the model and share one probability; keep one",
        )
        for group in groups.values()
        if len(group) > 1
    ]


def truncated_labels(
    labels: LabelSet, context_length: int, safe_bytes: int, encode: Encode
) -> list[LabelWarning]:
    """Labels with truncated prompts, and truncated prompts of none of the above.

    `safe_bytes` is that of the tokenizer: shorter prompts need no check.
    """
    longest = max(labels.templates, key=len)
    room = safe_bytes - len(longest.encode())
    long = [i for i, name in enumerate(labels.names) if len(name.encode()) > room]
    tokens = encode([longest.replace("{}", labels.names[i]) for i in long])
    cut = [i for i, prompt in zip(long, tokens, strict=True) if prompt.truncated]
    why = f"the model reads {context_length} tokens"
    warnings = []
    if cut:
        verb = "is too long and loses its end" if len(cut) == 1 else "are too long and lose their end"
        warnings.append(LabelWarning("cut", tuple(cut), f"{named(labels, cut)} {verb}: {why}"))
    none = labels.none_of_the_above
    if none is not None and any(prompt.truncated for prompt in encode(none.prompts)):
        warnings.append(LabelWarning("cut", (), f"prompts of {quoted(none.name)} lose their end: {why}"))
    return warnings


def named(labels: LabelSet, positions: Sequence[int]) -> str:
    """The quoted labels; of many labels, the first and the number of the others."""
    names = [quoted(labels.names[i]) for i in positions[:NAMED]]
    more = len(positions) - len(names)
    names += [f"{more} more"] if more else []
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def quoted(name: str) -> str:
    """A label in quotes, shortened if it is long."""
    return repr(name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…")
