"""How the text tower learns: from classes, from captions, from CIFAR-10."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from clipserve_exporter import cifar10
from heads import Heads
from rich.progress import track
from texts import KINDS, SETTLED_KINDS, Texts
from torch import Tensor

SCALE = 20.0
"""What cosines are multiplied with in every softmax of the training."""
NEARNESS = 2.0
"""Weight of the distance to the prototypes while words are learned."""
SETTLED_NEARNESS = 8.0
"""The same when words are settled. The softmax alone is content at a cosine of 0.84 to the prototype, where
one picture in four goes to another class than the prototype itself would send it to."""


@dataclass(frozen=True)
class Pictures:
    """Trunk features [n, 1280] of pictures to learn from, and what is known about them."""

    art: Tensor
    art_captions: list[list[str]]
    cifar: Tensor
    cifar_labels: Tensor


def encode(model: Any, ids: Tensor, groups: int = 4) -> Tensor:
    """Normalized text embeddings [n, D] of ranks of token ids; texts of like length go together."""
    lengths = ids.argmax(-1) + 1
    order = lengths.argsort()
    found = []
    for part in order.chunk(groups):
        cut = int(lengths[part].max())
        x = model.token_embedding(ids[part, :cut]) + model.positional_embedding[:cut]
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:cut, :cut]))
        found.append(x[torch.arange(len(part)), lengths[part] - 1] @ model.text_projection)
    return F.normalize(torch.cat(found)[order.argsort()], dim=-1)


def class_loss(
    text: Tensor, classes: Sequence[tuple[int, ...]], prototypes: Tensor, nearness: float
) -> Tensor:
    """nearness · (1 − cos to the mean prototype) + KL(uniform on the classes || softmax(SCALE · cosines))."""
    spread = torch.zeros(len(classes), len(prototypes))
    for row, found in zip(spread, classes, strict=True):
        row[list(found)] = 1 / len(found)
    mean = F.normalize(spread @ prototypes, dim=-1)
    logs = (SCALE * text @ prototypes.T).log_softmax(-1)
    kl = (torch.xlogy(spread, spread) - spread * logs).sum(-1)
    return (nearness * (1 - (text * mean).sum(-1)) + kl).mean()


def caption_loss(text: Tensor, image: Tensor, captions: Sequence[str]) -> Tensor:
    """InfoNCE over pairs; pictures with the same caption are no counterexamples of each other."""
    same = torch.tensor([[a == b for b in captions] for a in captions])
    same &= ~torch.eye(len(captions), dtype=torch.bool)
    logits = (SCALE * text @ image.T).masked_fill(same, -1e4)
    labels = torch.arange(len(captions))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def draw_art(
    texts: Texts, heads: Heads, pictures: Pictures, count: int
) -> tuple[list[str], list[str], Tensor]:
    """Prompts, their captions and the embeddings of clip art."""
    batch = texts.rng.sample(range(len(pictures.art)), count)
    captions = [texts.rng.choice(pictures.art_captions[i]) for i in batch]
    return [texts.prompt(caption) for caption in captions], captions, heads.images(pictures.art[batch])


def descend(
    loss: Callable[[], Tensor], groups: list[dict[str, Any]], steps: int, decay: float, what: str
) -> None:
    """AdamW with a warm-up over 5 % of the steps and a cosine to zero; `groups` have a peak rate each."""
    optimizer = torch.optim.AdamW(groups, weight_decay=decay, fused=True)
    everything = [parameter for group in groups for parameter in group["params"]]
    for step in track(range(steps), what):
        share = min(1.0, (step + 1) / max(1, steps // 20)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share
        value = loss()
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(everything, 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"{what}: step {step} of {steps}, loss {value.item():.3f}", flush=True)


def learn_words(model: Any, heads: Heads, texts: Texts, pictures: Pictures, steps: int) -> None:
    """Words go to the prototypes of their classes, captions of clip art to the clip art."""
    prototypes = heads.classes().detach()

    def loss() -> Tensor:
        words, classes = texts.draw(400, KINDS)
        prompts, captions, images = draw_art(texts, heads, pictures, 96)
        ids = texts.encode([*words, *prompts], unknowns=True)
        embeddings = encode(model, ids)
        found = class_loss(embeddings[:400], classes, prototypes, NEARNESS)
        return found + 0.15 * caption_loss(embeddings[400:], images.detach(), captions)

    descend(loss, [{"params": text_parameters(model), "peak": 1.5e-3}], steps, 0.02, "learning words")


def learn_cifar(
    model: Any,
    heads: Heads,
    texts: Texts,
    pictures: Pictures,
    head: tuple[Tensor, Tensor],
    steps: int,
    *,
    settle: bool = False,
) -> None:
    """CIFAR-10's pictures move texts and projection; the classifier's opinion holds the projection.

    To `settle` is the same with class names in the majority and held closer to their prototypes.
    """
    weight, bias = head
    prototypes = heads.classes().detach()
    scale = heads.log_scale.exp().detach()
    everything = torch.cat([pictures.cifar, pictures.art])
    kinds, nearness = (SETTLED_KINDS, SETTLED_NEARNESS) if settle else (KINDS, NEARNESS)

    def loss() -> Tensor:
        words, classes = texts.draw(300, kinds)
        prompts, captions, images = draw_art(texts, heads, pictures, 64)
        named = [texts.rng.choice(cifar10.TEMPLATES).replace("{}", name) for name in cifar10.NAMES]
        embeddings = encode(model, texts.encode([*words, *prompts, *named], unknowns=True))
        found = class_loss(embeddings[:300], classes, prototypes, nearness)
        found = found + 0.15 * caption_loss(embeddings[300:364], images, captions)
        batch = torch.randint(len(pictures.cifar), (512,))
        logits = SCALE * heads.images(pictures.cifar[batch]) @ embeddings[364:].T
        found = found + 0.7 * F.cross_entropy(logits, pictures.cifar_labels[batch])
        seen = everything[torch.randint(len(everything), (512,))]
        seen = seen * torch.exp(0.5 * torch.randn_like(seen))
        logs = (scale * heads.images(seen) @ prototypes.T).log_softmax(-1)
        return found - ((seen @ weight.T + bias).softmax(-1) * logs).sum(-1).mean()

    groups = [
        {"params": text_parameters(model), "peak": 8e-4 if settle else 5e-4},
        {"params": list(heads.project.parameters()), "peak": 1e-4},
    ]
    descend(loss, groups, steps, 0.0, "settling" if settle else "learning CIFAR-10")


def text_parameters(model: Any) -> list[Tensor]:
    """Everything but the image tower and the scale."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if not name.startswith("visual") and name != "logit_scale"
    ]
