"""Trains the demo model on a CPU: an ImageNet classifier's trunk becomes a small CLIP.

1. The head of EfficientNet-Lite0 (W, b) splits by SVD into a projection of the image features and one
   prototype for each class; a short distillation on unlabeled pictures fits both to cosines.
2. The text tower learns to put words where the prototypes of the classes that they mean are; pairs of clip
   art and captions add words and colors that ImageNet has not.
3. CIFAR-10's training pictures tune projection and text tower together, with the classifier's own opinion
   as an anchor.
4. The same once more, with class names held closer to their prototypes.

Reproducible: one seed, a fixed order, no data loaders. See README.md beside this file for the data.
"""

# ruff: noqa: E402 (timm and open_clip import torchvision, which must be importable first)

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from clipserve_exporter.torchvision_shim import make_importable

make_importable()

import timm
import torch
from clipserve_exporter import demo
from clipserve_exporter.cifar10 import NAMES, TEMPLATES, Cifar10
from corpus import build_corpus, known_words
from everyday import EVERYDAY
from heads import Heads, distill, teacher
from images import ClipArt, clip_art, flattened, main_color, trunk_features
from learn import Pictures, learn_cifar, learn_words
from measure import HeldOut, fit_scale, report
from open_clip import IMAGENET_CLASSNAMES
from PIL import Image
from texts import UNKNOWN, Texts


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with data.noun and index.noun")
    parser.add_argument("--clipart", type=Path, required=True, help="folder with Open Clip Art PNGs")
    parser.add_argument(
        "--cifar10", type=Path, required=True, help="CIFAR-10's training pictures: npz or cifar-10-batches-py"
    )
    parser.add_argument("--cache", type=Path, default=Path("build/training"), help="features are kept here")
    parser.add_argument("--word-steps", type=int, default=900, help="steps of learning words")
    parser.add_argument("--cifar-steps", type=int, default=250, help="steps of learning CIFAR-10")
    parser.add_argument("--settle-steps", type=int, default=320, help="steps of settling")
    parser.add_argument("--begin", type=Path, help="weights to settle, instead of learning anew")
    parser.add_argument("--cifar-images", type=int, default=12000, help="CIFAR-10 training pictures used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="weights file; default: the package's own")
    return parser.parse_args()


def main() -> None:
    """Trains, measures and writes the model."""
    args = arguments()
    start = time.monotonic()
    random.seed(args.seed)
    torch.manual_seed(args.seed)

    classifier = teacher()
    linear = classifier.get_classifier()
    head = (linear.weight.detach().clone(), linear.bias.detach().clone())
    classifier.reset_classifier(0)
    pictures, held_out = look(args, classifier)

    heads = Heads(*head, demo.config()["embed_dim"])
    distill(heads, torch.cat([pictures.cifar, pictures.art, pictures.art]), *head)

    synsets = (Path(timm.__file__).parent / "data" / "_info" / "imagenet_synsets.txt").read_text().split()
    corpus = build_corpus(
        list(IMAGENET_CLASSNAMES), [int(wnid[1:]) for wnid in synsets], args.wordnet, EVERYDAY
    )
    captions = [caption for captions in pictures.art_captions for caption in captions]
    named = [template.replace("{}", name) for template in TEMPLATES for name in NAMES]
    texts = Texts(corpus, [*captions, *named], args.seed)
    print({kind: len(entries) for kind, entries in corpus.items()}, f"{len(texts.tokens)} tokens", flush=True)

    model = demo.build(len(texts.tokens))
    if args.begin:
        resume(model, heads, texts, args.begin)
    else:
        learn_words(model, heads, texts, pictures, args.word_steps)
        learn_cifar(model, heads, texts, pictures, head, args.cifar_steps)
    report(model, heads, texts, head, held_out, every_template=False)
    learn_cifar(model, heads, texts, pictures, head, args.settle_steps, settle=True)
    report(model, heads, texts, head, held_out, every_template=True)

    trunk = classifier.state_dict() | {
        "classifier.weight": heads.project.weight,
        "classifier.bias": heads.project.bias,
    }
    model.visual.trunk.load_state_dict(trunk)
    scale = fit_scale(model, heads, texts, held_out)
    model.logit_scale.data.fill_(math.log(scale))
    demo.save_demo(model, texts.tokens, UNKNOWN, args.out)
    print(f"logit scale {scale:.0f}; {(time.monotonic() - start) / 60:.0f} minutes")


def resume(model: Any, heads: Heads, texts: Texts, path: Path) -> None:
    """Takes the text tower and the projection from a weights file of the same data."""
    begun = demo.load_demo(path).state_dict()
    begun[demo.TOKEN_EMBEDDING] = begun[demo.TOKEN_EMBEDDING][texts.tokens]
    model.load_state_dict(begun)
    heads.project.load_state_dict(model.visual.trunk.get_classifier().state_dict())


def look(args: argparse.Namespace, trunk: Any) -> tuple[Pictures, HeldOut]:
    """The pictures' features: nine tenths to learn from, one tenth held out."""
    cifar = Cifar10(args.cifar10, train=True)
    chosen = torch.randperm(len(cifar))[: args.cifar_images].tolist()
    labels = torch.from_numpy(cifar.labels)[chosen]
    seen = kept(
        args.cache / f"cifar10-{len(chosen)}-{args.seed}.pt",
        lambda: trunk_features(trunk, cifar.images(chosen), len(chosen), "looking at CIFAR-10"),
    )
    found = clip_art(args.clipart, known_words(args.wordnet))
    art, colors = kept(args.cache / f"clipart-{len(found)}.pt", lambda: look_at_art(trunk, found))

    cut = len(chosen) - len(chosen) // 10
    captions = [one.captions(color) for one, color in zip(found, colors, strict=True)]
    last = torch.tensor([number % 10 == 9 for number in range(len(found))])
    learned = [some for some, out in zip(captions, last, strict=True) if not out]
    titles = [some[0] for some, out in zip(captions, last, strict=True) if out]
    return (
        Pictures(art[~last], learned, seen[:cut], labels[:cut]),
        HeldOut(seen[cut:], labels[cut:], art[last], titles),
    )


def look_at_art(trunk: Any, found: list[ClipArt]) -> tuple[torch.Tensor, list[str]]:
    """Features and main colors of clip art."""
    colors = []

    def pictures() -> Iterator[Image.Image]:
        for one in found:
            image = flattened(Image.open(one.path))
            colors.append(main_color(image))
            yield image

    return trunk_features(trunk, pictures(), len(found), "looking at clip art"), colors


def kept(path: Path, compute: Callable[[], Any]) -> Any:
    """What a file keeps, or what is computed and kept there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(compute(), path)
    return torch.load(path, weights_only=True)


if __name__ == "__main__":
    main()
