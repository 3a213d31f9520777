"""What the trained model is worth, as far as it can be told without ImageNet's photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from clipserve_exporter import cifar10
from heads import Heads
from learn import encode
from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
from texts import Texts
from torch import Tensor


@dataclass(frozen=True)
class HeldOut:
    """Pictures that nothing was learned from, by their trunk features [n, 1280]."""

    cifar: Tensor
    cifar_labels: Tensor
    art: Tensor
    art_titles: list[str]


@torch.no_grad()
def label_embeddings(model: Any, texts: Texts, labels: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Normalized mean of each label's normalized prompt embeddings, [labels, D]."""
    means = []
    for some in (labels[at : at + 20] for at in range(0, len(labels), 20)):
        prompts = [template.replace("{}", label) for label in some for template in templates]
        means.append(encode(model, texts.encode(prompts)).reshape(len(some), len(templates), -1).mean(1))
    return F.normalize(torch.cat(means), dim=-1)


@torch.no_grad()
def report(
    model: Any,
    heads: Heads,
    texts: Texts,
    head: tuple[Tensor, Tensor],
    held_out: HeldOut,
    *,
    every_template: bool,
) -> None:
    """Prints accuracies; all 80 templates of ImageNet take a minute or two, every tenth seconds."""
    templates = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    templates = templates if every_template else templates[::10]
    words = label_embeddings(model, texts, list(IMAGENET_CLASSNAMES), templates)
    prototypes = heads.classes()
    ranks = (words @ prototypes.T).argsort(-1, descending=True)
    own = torch.arange(len(words))[:, None]
    print(
        f"  class names nearest to their own prototype: {(ranks[:, :1] == own).float().mean():.3f}, "
        f"among the nearest five {(ranks[:, :5] == own).any(-1).float().mean():.3f}, "
        f"mean cosine {(words * prototypes).sum(-1).mean():.3f}"
    )
    art = heads.images(held_out.art)
    opinion = (held_out.art @ head[0].T + head[1]).softmax(-1)
    sure = opinion.amax(-1) > 0.5
    same = [
        ((art[sure] @ rows.T).argmax(-1) == opinion[sure].argmax(-1)).float().mean()
        for rows in (words, prototypes)
    ]
    print(
        f"  held-out clip art where the classifier is sure ({int(sure.sum())}): class names agree in "
        f"{same[0]:.3f}, prototypes in {same[1]:.3f}"
    )
    titles = sorted(set(held_out.art_titles))
    cosines = art @ label_embeddings(model, texts, titles, ["{}", "a {}"]).T
    right = torch.tensor([titles.index(title) for title in held_out.art_titles])[:, None]
    found = (cosines.argsort(-1, descending=True)[:, :10] == right).any(-1).float().mean()
    print(f"  held-out clip art: title among the ten likeliest of {len(titles)}: {found:.3f}")
    ten = cifar_cosines(model, heads, texts, held_out).argmax(-1) == held_out.cifar_labels
    print(f"  CIFAR-10 training pictures held out: {ten.float().mean():.4f}", flush=True)


@torch.no_grad()
def cifar_cosines(model: Any, heads: Heads, texts: Texts, held_out: HeldOut) -> Tensor:
    """Cosines of held-out CIFAR-10 pictures and the ten labels, [n, 10]."""
    labels = label_embeddings(model, texts, cifar10.NAMES, cifar10.TEMPLATES)
    return heads.images(held_out.cifar) @ labels.T


def fit_scale(model: Any, heads: Heads, texts: Texts, held_out: HeldOut) -> float:
    """The logit scale, 10–100, under which held-out CIFAR-10 probabilities are calibrated best."""
    cosines = cifar_cosines(model, heads, texts, held_out)
    scales = torch.linspace(10, 100, 91)
    losses = torch.stack([F.cross_entropy(scale * cosines, held_out.cifar_labels) for scale in scales])
    return float(scales[losses.argmin()])
