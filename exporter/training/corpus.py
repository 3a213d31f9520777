"""What the text tower learns from: words, and the ImageNet classes that each word stands for.

Sources: ImageNet's class names (as shipped by open_clip), WordNet 3.0 (synonyms, glosses, broader and
narrower terms) and a table of everyday words written for this project.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

MAX_BROADER = 400
"""A broader term that covers more classes than this says too little about a picture."""
MAX_NARROWER = 40
"""A narrower term takes the classes of its nearest ancestor, if those are this few."""


@dataclass(frozen=True)
class Entry:
    """Texts that mean the same set of classes."""

    texts: tuple[str, ...]
    classes: tuple[int, ...]
    whole: bool = False
    """Whether the texts are sentences already, to be used without a template."""


@dataclass
class Synset:
    """One WordNet noun synset."""

    words: list[str]
    gloss: str
    parents: list[int]
    children: list[int] = field(default_factory=list)


def read_wordnet(folder: Path) -> tuple[dict[int, Synset], dict[str, list[int]]]:
    """Noun synsets by offset, and each word's senses in the order of their frequency."""
    synsets: dict[int, Synset] = {}
    for line in (folder / "data.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue
        facts, _, gloss = line.partition(" | ")
        parts = facts.split()
        count = int(parts[3], 16)
        words = [parts[4 + 2 * i].replace("_", " ") for i in range(count)]
        pointers = parts[5 + 2 * count :]
        parents = [int(pointers[i + 1]) for i, sign in enumerate(pointers) if sign in ("@", "@i")]
        synsets[int(parts[0])] = Synset(words, gloss.strip(), parents)
    for offset, synset in synsets.items():
        for parent in synset.parents:
            synsets[parent].children.append(offset)
    senses: dict[str, list[int]] = {}
    for line in (folder / "index.noun").read_text().splitlines():
        if not line.startswith("  "):
            parts = line.split()
            senses[parts[0].replace("_", " ")] = [int(offset) for offset in parts[-int(parts[2]) :]]
    return synsets, senses


def first_clause(gloss: str) -> str:
    """A definition without its examples and afterthoughts, at most 20 words."""
    return " ".join(re.split(r"[;\"(]", gloss)[0].split()[:20])


def build_corpus(
    class_names: list[str], offsets: list[int], wordnet: Path, everyday: dict[str, list[str]]
) -> dict[str, list[Entry]]:
    """Entries by kind: classes, names, glosses, broader, narrower, everyday.

    `class_names` and `offsets` (WordNet offsets of the classes) are in class order; `everyday` maps a
    word to names of classes. A word that stands for several classes means all of them.
    """
    synsets, senses = read_wordnet(wordnet)
    leaves: dict[int, set[int]] = defaultdict(set)
    for index, offset in enumerate(offsets):
        for ancestor in with_ancestors(offset, synsets):
            leaves[ancestor].add(index)

    meanings: dict[str, set[int]] = defaultdict(set)
    for index, (name, offset) in enumerate(zip(class_names, offsets, strict=True)):
        meanings[name].add(index)
        for word in synsets[offset].words:
            meanings[word].add(index)
    names = [Entry((word,), tuple(sorted(classes))) for word, classes in sorted(meanings.items())]

    glosses = [
        Entry((first_clause(synsets[offset].gloss),), (index,), whole=True)
        for index, offset in enumerate(offsets)
    ]

    own = set(offsets)
    broader, narrower = [], []
    for word, offset in sorted((word, found[0]) for word, found in senses.items()):
        if word in meanings or word.lower() in meanings or not re.fullmatch(r"[a-z][a-z' -]+", word):
            continue
        classes = leaves.get(offset)
        if classes and offset not in own and len(classes) <= MAX_BROADER:
            broader.append(Entry((word,), tuple(sorted(classes))))
        elif not classes:
            near = nearest(offset, synsets, leaves)
            if near and len(near) <= MAX_NARROWER:
                narrower.append(Entry((word,), tuple(sorted(near))))

    by_name = {name: index for index, name in enumerate(class_names)}
    by_hand = [
        Entry((word,), tuple(sorted({by_name[name] for name in found}))) for word, found in everyday.items()
    ]
    return {
        "classes": [entry for entry in names if entry.texts[0] in by_name],
        "names": [entry for entry in names if entry.texts[0] not in by_name],
        "glosses": glosses,
        "broader": broader,
        "narrower": narrower,
        "everyday": by_hand,
    }


def known_words(wordnet: Path) -> set[str]:
    """Single nouns and adjectives that WordNet knows, in lower case."""
    lines = [
        line for name in ("noun", "adj") for line in (wordnet / f"index.{name}").read_text().splitlines()
    ]
    return {line.split()[0] for line in lines if not line.startswith("  ")}


def with_ancestors(offset: int, synsets: dict[int, Synset]) -> set[int]:
    """A synset and everything broader."""
    found, waiting = set(), [offset]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += synsets[current].parents
    return found


def nearest(offset: int, synsets: dict[int, Synset], leaves: dict[int, set[int]], steps: int = 2) -> set[int]:
    """Classes of the nearest broader synset that has any, at most `steps` up."""
    level = {offset}
    for _ in range(steps):
        level = {parent for current in level for parent in synsets[current].parents}
        found = set().union(*(leaves.get(current, set()) for current in level)) if level else set()
        if found:
            return found
    return set()
