"""The licenses of weights in the document, from the exporter's own list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from clipserve_exporter.sources.licenses import License, of_hub

MEANING = {
    "mit": "free for all use, with its notice",
    "apache-2.0": "free for all use, with its notice",
    "cc-by-nc-4.0": "not for commercial use",
    "apple-amlr": "for research only",
}
"""License → what it allows, in a word. The text of a license counts, not this."""


def of_pair(pair: Mapping[str, Any]) -> License:
    """The license of a pair's weights."""
    return of_hub(pair["hub"]) if pair["hub"] else License()


def section(pairs: Sequence[Mapping[str, Any]]) -> str:
    """The licenses of all pairs, their meaning and where each is said."""
    counts = Counter(of_pair(pair) for pair in pairs)
    lines = [
        f"| {license.words} | {count} | {MEANING.get(license.name, '–')} | {license.source or '–'} |"
        for license, count in sorted(counts.items(), key=lambda item: (item[0].words, -item[1]))
    ]
    return "\n".join(
        [
            "## Licenses",
            "",
            "The exporter puts the license into its report, into the model's configuration and into",
            "`GetServerInfo`. `clipserve-export --licenses apache-2.0,mit` refuses all others.",
            "Read the license itself before you use the weights: this list may be wrong or out of date.",
            "",
            "| license | pairs | in a word | source |",
            "|---|--:|---|---|",
            *lines,
            "",
        ]
    )
