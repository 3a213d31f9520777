"""Writes docs/models.md from the results, the pairs, the published figures and the licenses.

python -m zoo.document
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import ROOT, licenses, proofs, results
from zoo.guide import guide
from zoo.tokenizer_kinds import WORDS

DOCUMENT = ROOT / "docs" / "models.md"
FAMILIES = {
    "ResNet of OpenAI's CLIP": ("RN",),
    "Text towers of other libraries": ("roberta-", "xlm-roberta-", "nllb-"),
    "ConvNeXt": ("convnext_",),
    "CoCa": ("coca_",),
    "EVA": ("EVA",),
    "SigLIP": ("ViT-{}-SigLIP",),
    "SigLIP 2": ("ViT-{}-SigLIP2",),
    "CLIPA": ("ViT-{}-CLIPA",),
    "MetaCLIP 2": ("ViT-{}-worldwide",),
    "MobileCLIP": ("MobileCLIP",),
    "ViTamin": ("ViTamin",),
    "Perception Encoder": ("PE-",),
    "ViT": ("ViT-",),
}
"""Heading → what the names of its architectures begin with; `{}` stands for any word. The first fits."""
HEADINGS = ("ViT", *[name for name in FAMILIES if name != "ViT"])
"""The order in the document."""
FIGURES = ("imagenet_top1", "cifar10_top1", "flickr30k_r5", "coco_r5")


def family_of(architecture: str) -> str:
    """The heading under which an architecture stands."""
    for part in ("-SigLIP2", "-SigLIP", "-CLIPA", "-worldwide"):
        if architecture.startswith("ViT-") and part in architecture:
            return next(name for name, starts in FAMILIES.items() if starts[0] == f"ViT-{{}}{part}")
    return next(name for name, starts in FAMILIES.items() if architecture.startswith(starts))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; columns of figures are those whose head ends in a space."""
    align = ["--:" if name.endswith(" ") else "---" for name in head]
    lines = [[name.strip() for name in head], align, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def handling(pair: Mapping[str, Any], proof: proofs.Proof) -> str:
    """The row that stands for a pair, or the reason why none does."""
    if not proof.row:
        return proof.reason
    switched = f", as `{proofs.sibling(pair['architecture'])}`" if pair["other_activation"] else ""
    return f"[{proof.row}](#measured){switched}"


def pair_row(pair: Mapping[str, Any], proof: proofs.Proof, figures: Mapping[str, str]) -> list[str]:
    """A pair's line."""
    size = pair["image_size"]
    return [
        f"`{pair['architecture']}`",
        f"`{pair['tag']}`",
        handling(pair, proof),
        str(pair["embed_dim"]),
        str(size[0]) if size[0] == size[1] else f"{size[0]} × {size[1]}",
        licenses.of_pair(pair).words,
        *[f"{float(figures[key]):.1f}" if figures.get(key) else "–" for key in FIGURES],
    ]


def pair_tables(outcomes: Mapping[str, Any]) -> str:
    """All pairs, a table for each family."""
    published = proofs.published()
    head = ("architecture", "weights", "row", "dim ", "pixels ", "license", "ImageNet ", "CIFAR-10 ",
            "Flickr30k ", "COCO ")  # fmt: skip
    sections = []
    for heading in HEADINGS:
        rows = [
            pair_row(pair, proof, published.get((pair["architecture"], pair["tag"]), {}))
            for pair, proof in proofs.covered(outcomes)
            if family_of(pair["architecture"]) == heading
        ]
        sections.append(f"### {heading}\n\n{table(head, rows)}\n")
    return "\n".join(sections)


def measured_row(name: str, row: Mapping[str, Any]) -> list[str]:
    """A line of the zoo's own table."""
    fp32, others = row["precisions"]["fp32"], row["precisions"]
    bf16 = others.get("bf16", {})

    def rates(key: str) -> list[str]:
        known = [{} if row["shrunk"] else one for one in (fp32, bf16)]
        return [results.figure(one[key]) if key in one else "–" for one in known]

    lowest = [f"{min(one['image_cosine'], one['text_cosine']):.6f}" if one else "–" for one in (fp32, bf16)]
    return [
        name,
        f"`{row['architecture']}`" + (", shrunk" if row["shrunk"] else ""),
        WORDS[row["tokenizer"]],
        row["text_length"],
        "{} of {}".format(*row["pixels"]),
        "{} of {}".format(*row["ids"]),
        *lowest,
        f"{fp32['bytes'] / 1e6:.0f}",
        *rates("images_per_second"),
        *rates("texts_per_second"),
    ]


def measured_table(outcomes: Mapping[str, Any]) -> str:
    """What was measured of each row that passed."""
    head = ("row", "open_clip's architecture", "tokenizer", "texts", "equal pixels ", "equal ids ",
            "fp32 cosine ", "bf16 cosine ", "MB ", "fp32 images/s ", "bf16 images/s ", "fp32 texts/s ",
            "bf16 texts/s ")  # fmt: skip
    passed = {name: row for name, row in outcomes.items() if row["passed"]}
    return table(head, [measured_row(name, row) for name, row in passed.items()])


def failures(outcomes: Mapping[str, Any]) -> str:
    """The rows that did not pass, and why; empty if all did."""
    failed = {name: row for name, row in outcomes.items() if not row["passed"]}
    if not failed:
        return ""
    lines = [f"- {name}: {'; '.join(row['problems'])[:80]}" for name, row in failed.items()]
    return "These rows did not pass:\n\n" + "\n".join(lines) + "\n\n"


def refusals(outcomes: Mapping[str, Any]) -> str:
    """The precisions in which the exporter refused rows, as a list; empty if there are none."""
    lines = [
        textwrap.fill(f"- {name}, {precision}: {reason}", 98, subsequent_indent="  ")
        for name, row in outcomes.items()
        for precision, reason in row.get("refused", {}).items()
    ]
    if not lines:
        return ""
    return (
        "The exporter refused these: random weights amplify rounding more than trained ones do.\n\n"
        + "\n".join(lines)
        + "\n\n"
    )


def disturbed(outcomes: Mapping[str, Any]) -> list[str]:
    """Which speeds were measured while other programs used the processor."""
    names = [name for name, row in outcomes.items() if row.get("busy") and not row["shrunk"]]
    if not names:
        return []
    return [
        "Other programs used the processor while the speed of these rows was measured,",
        "so that they are slower here than on an idle machine:",
        *textwrap.wrap(", ".join(names) + ".", 96),
    ]


def render() -> str:
    """The document."""
    outcomes = results.read()
    covered = proofs.covered(outcomes)
    proved = [pair for pair, proof in covered if proof.row]
    machines = sorted({row["machine"] for row in outcomes.values()})
    return "\n".join(
        [
            "# Models",
            "",
            "<!-- `make zoo` and `python -m zoo.document` write this file. Change zoo/, not this file. -->",
            "",
            f"open_clip {proofs.version()} lists {len(covered)} pairs of an architecture and weights.",
            f"The service serves {len(proved)} of them.",
            *missing(covered),
            "",
            guide(outcomes),
            "",
            "## Measured",
            "",
            f"`make zoo` makes a model for each of {len(outcomes)} rows, of "
            f"{proofs.architectures(outcomes)} architectures.",
            "It exports the model, serves it in Triton behind a gateway, and compares it, through the SDK,",
            "with open_clip's own model, transform and tokenizer.",
            "A row stands for all pairs with the same classes and switches in both towers,",
            "the same kind of tokenizer and the same kind of preprocessing.",
            "All weights are random, so the rows show that the service computes what open_clip computes.",
            "They do not show how good a model is.",
            "",
            "- **shrunk**: fewer and narrower layers than open_clip's, of the same classes.",
            "- **tokenizer**: that of OpenAI is the real one.",
            "  The others are trained on a few sentences: same kind, smaller vocabulary.",
            "- **texts**: `ragged`: each text is encoded at its own length;",
            "  `masked`: padded to the longest of its batch; `fixed`: padded to the full context.",
            "- **equal pixels, equal ids**: inputs for which the gateway and open_clip agree in every bit,",
            "  with `fast_decode` off.",
            "- **cosine**: the smallest of all pictures and texts. Needed are "
            "0.99999 in fp32 and 0.999 in bf16.",
            "- **MB**: files in fp32.",
            "- **images/s, texts/s**: end to end, from two callers: JPEG photographs of 0.3 megapixels,",
            "  and captions of six words; “–” for shrunk rows.",
            "  fp16 is left out: it is for GPUs. A CPU loads it for minutes and is no faster.",
            "",
            *[f"Processor: {machine}." for machine in machines],
            *disturbed(outcomes),
            "",
            failures(outcomes) + refusals(outcomes) + measured_table(outcomes),
            "",
            "## All pairs",
            "",
            "- **row**: the row of the table above that stands for the pair.",
            "  “as …”: the weights need that architecture's activation, and the exporter takes it.",
            "- **dim**: length of an embedding. **pixels**: height and width of the encoder's input.",
            "- **license**: of the weights, with its source; see [licenses](#licenses).",
            "- **ImageNet, CIFAR-10**: zero-shot top-1 accuracy in percent.",
            "  **Flickr30k, COCO**: recall at 5 of text → image search in percent.",
            "  They are from `openclip_results.csv` and `openclip_retrieval_results.csv` in",
            "  [open_clip's docs](https://github.com/mlfoundations/open_clip/tree/main/docs);",
            "  “–”: not in them.",
            "",
            pair_tables(outcomes),
            licenses.section(proofs.pairs()),
        ]
    )


def missing(covered: Sequence[tuple[Mapping[str, Any], proofs.Proof]]) -> list[str]:
    """What the document says of pairs that no row stands for."""
    names = sorted({pair["architecture"] for pair, proof in covered if not proof.row})
    if not names:
        return []
    return ["No row has passed that stands for:", *[f"`{name}`," for name in names]]


def write(path: Path = DOCUMENT) -> None:
    """Writes the document."""
    path.write_text(render())


if __name__ == "__main__":
    write()
