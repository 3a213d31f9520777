"""Draws texts to learn from, and the token ids that the tower learns them by."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import open_clip
import torch
from corpus import Entry
from open_clip import OPENAI_IMAGENET_TEMPLATES
from torch import Tensor

END = 49407
UNKNOWN = 49405
"""A token that no text here has; its row is learned as that of unknown words."""
KINDS = {"classes": 0.25, "names": 0.2, "glosses": 0.05, "broader": 0.16, "narrower": 0.14, "everyday": 0.2}
"""How often each kind of entry is drawn at first."""
SETTLED_KINDS = KINDS | {"classes": 0.7, "glosses": 0.03}
"""The same when the words are known and their places are made exact; only ratios matter."""
SIMPLE = (
    *("{}", "a {}", "an {}", "the {}", "some {}", "my {}", "a photo of a {}", "a photo of a {}."),
    *("a photo of {}", "a picture of a {}", "picture of the {}", "an image of {}"),
)
MANY = ("{}", "many {}", "two {}", "some {}", "a photo of {}.", "a group of {}", "pictures of {}")
SCENES = (
    *("playing", "running", "sitting", "standing", "lying", "sleeping", "jumping", "eating", "swimming"),
    *("moving", "flying", "driving", "parked", "in use", "at home", "outdoors", "outside", "inside"),
    *("on the left", "in front of a wall", "in the background", "on a white background", "on the ground"),
    *("in the dark", "at night", "on a sunny day", "in summer", "close up", "seen from above", "in the park"),
)
ALSO = ("{} and {}", "a {} and a {}", "a {} with a {}", "a {} in the {}", "a {} on the {}", "{} near a {}")
DOING = ("", "", "playing ", "standing ", "sitting ", "running ", "lying ")


class Texts:
    """Texts with what they mean. The tower is trained on the tokens that occur, by their rank."""

    def __init__(self, corpus: dict[str, list[Entry]], more: Iterable[str], seed: int) -> None:
        self.corpus, self.rng = corpus, random.Random(seed)
        self.templates = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
        self._tokenize = open_clip.get_tokenizer("ViT-B-32")
        written = [text for entries in corpus.values() for entry in entries for text in entry.texts]
        found = {UNKNOWN, END}
        frames = [*self.templates, *SIMPLE, *MANY, *SCENES, *ALSO]
        for text in [*written, *(f"{plural(text)}." for text in written), *more, *frames]:
            found.update(self._tokenize([text])[0].tolist())
        self.tokens = torch.tensor(sorted(found))
        """Token ids that occur, int64, rising: rank 0 pads, the last one ends a text."""
        self._rank = torch.full((END + 1,), int((self.tokens == UNKNOWN).nonzero()))
        self._rank[self.tokens] = torch.arange(len(self.tokens))

    def prompt(self, text: str) -> str:
        """The text as somebody may put it: in a plain or an OpenAI template, as a plural, or in a scene."""
        way = self.rng.random()
        if way < 0.1:
            return self.rng.choice(MANY).replace("{}", plural(text))
        if way < 0.2:
            return f"{self.rng.choice(SIMPLE).replace('{}', text).rstrip('.')} {self.rng.choice(SCENES)}"
        return self.rng.choice(SIMPLE if way < 0.5 else self.templates).replace("{}", text)

    def draw(self, count: int, kinds: dict[str, float]) -> tuple[list[str], list[tuple[int, ...]]]:
        """Texts of these kinds and the classes they mean."""
        texts, classes = [], []
        for kind in self.rng.choices(list(kinds), list(kinds.values()), k=count):
            entry = self.rng.choice(self.corpus[kind])
            text, meant = self.rng.choice(entry.texts), entry.classes
            if kind == "everyday" and self.rng.random() < 0.2:
                other = self.rng.choice(self.corpus[kind])
                text = self.rng.choice(ALSO).replace("{}", text, 1).replace("{}", other.texts[0], 1)
                text = text.replace(" in the ", f" {self.rng.choice(DOING)}in the ")
                meant = tuple(sorted({*meant, *other.classes}))
            elif not entry.whole:
                text = self.prompt(text)
            texts.append(text)
            classes.append(meant)
        return texts, classes

    def encode(self, texts: Sequence[str], *, unknowns: bool = False) -> Tensor:
        """Ranks of token ids, int64 [n, longest]; on demand, unknown words are put into every fourth text."""
        ids = self._tokenize(list(texts))
        if unknowns:
            for row in ids:
                end = int((row == END).nonzero()[0])
                if end < 70 and self.rng.random() < 0.25:
                    for _ in range(self.rng.randint(1, 2)):
                        at = self.rng.randint(1, end)
                        row[at + 1 :] = row[at:-1].clone()
                        row[at] = UNKNOWN
                        end += 1
        return self._rank[ids[:, : int((ids == END).nonzero()[:, 1].max()) + 1]]


def plural(text: str) -> str:
    """English plural of the last word, by the common rules."""
    if text.endswith("y") and text[-2:-1] not in ("a", "e", "o", "u", ""):
        return f"{text[:-1]}ies"
    if text.endswith(("s", "x", "z", "ch", "sh")):
        return text if text.endswith("s") and not text.endswith("ss") else f"{text}es"
    return f"{text}s"
