"""The head of docs/models.md: which model to choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo import proofs, results

CPU = (
    ("mobileclip2-s0", "MobileCLIP2-S0", "dfndr2b"),
    ("vit-b-32", "ViT-B-32", "datacomp_xl_s13b_b90k"),
    ("pe-core-t-16", "PE-Core-T-16-384", "meta"),
    ("vitamin-s", "ViTamin-S", "datacomp1b"),
    ("mobileclip-s1", "MobileCLIP-S1", "datacompdr"),
    ("siglip2-b-32", "ViT-B-32-SigLIP2-256", "webli"),
    ("rn50", "RN50-quickgelu", "openai"),
    ("mobileclip-b", "MobileCLIP-B", "datacompdr_lt"),
    ("vit-b-16", "ViT-B-16", "datacomp_xl_s13b_b90k"),
    ("siglip-b-16", "ViT-B-16-SigLIP", "webli"),
    ("convnext-base", "convnext_base", "laion400m_s13b_b51k"),
    ("pe-core-b-16", "PE-Core-B-16", "meta"),
)
"""Full-size rows with weights that fit them."""


def speed(row: Mapping[str, Any]) -> float:
    """Images a second in the fastest precision."""
    return max(one["images_per_second"] for one in row["precisions"].values())


def speed_table(outcomes: Mapping[str, Any]) -> str:
    """The full-size rows, the fastest first, with the published figures of weights that fit them."""
    published = proofs.published()
    sizes = {(pair["architecture"], pair["tag"]): pair["million_parameters"] for pair in proofs.pairs()}
    lines = []
    chosen = [entry for entry in CPU if outcomes.get(entry[0], {}).get("passed")]
    for name, architecture, tag in sorted(chosen, key=lambda entry: -speed(outcomes[entry[0]])):
        precisions = outcomes[name]["precisions"]
        rates = [
            results.figure(precisions[one]["images_per_second"]) if one in precisions else "–"
            for one in ("fp32", "bf16")
        ]
        figure = published.get((architecture, tag), {}).get("imagenet_top1", "")
        top1 = f"{float(figure):.1f}" if figure else "–"
        million = sizes[architecture, tag]
        lines.append(f"| `{architecture}` | `{tag}` | {million:.0f} | {rates[0]} | {rates[1]} | {top1} |")
    head = "| architecture | weights | million parameters | fp32 images/s | bf16 images/s | ImageNet |"
    return "\n".join([head, "|---|---|--:|--:|--:|--:|", *lines])


def figure(architecture: str, tag: str, key: str = "imagenet_top1") -> str:
    """A published figure, in percent."""
    return f"{float(proofs.published()[architecture, tag][key]):.1f} %"


def guide(outcomes: Mapping[str, Any]) -> str:
    """Which model to choose for a CPU, for a GPU, for many languages."""
    busy = any(row.get("busy") for row in outcomes.values())
    shared = ", while other programs used them too" if busy else ""
    return f"""## Which model to choose

```bash
clipserve-gateway up --model ViT-B-32 --pretrained datacomp_xl_s13b_b90k
```

exports a model and serves it. Try two or three with your own pictures and labels:
published figures are means over other people's.
Look at the [license](#all-pairs) first: some weights are for research only.

### On a CPU

Take a small image encoder, and bf16 if the processor has AMX or AVX512-BF16
(`--precision auto` decides): it is 3 to 4 times as fast as fp32 for most models.
Texts cost less than images, and least where the table below says `ragged` or `masked`.

{speed_table(outcomes)}

Speed is that of the [measured rows](#measured) on two cores{shared}.
ImageNet is the published zero-shot top-1 accuracy in percent;
“–” where open_clip's table has none.

- `ViT-B-32` and `ViT-B-32-256` with weights of DataComp
  ({figure("ViT-B-32", "datacomp_xl_s13b_b90k")} and {figure("ViT-B-32-256", "datacomp_s34b_b86k")})
  are a good first choice.
- MobileCLIP and MobileCLIP 2 are made for small machines.
- `ViT-B-16-SigLIP` ({figure("ViT-B-16-SigLIP", "webli")}) is better and several times slower.

### On a GPU

Take the best model that fits, in fp16.

- `ViT-L-14` with `datacomp_xl_s13b_b90k` ({figure("ViT-L-14", "datacomp_xl_s13b_b90k")})
  is the usual middle.
- `ViT-SO400M-14-SigLIP-384` ({figure("ViT-SO400M-14-SigLIP-384", "webli")})
  and `ViT-H-14-378-quickgelu` with `dfn5b` ({figure("ViT-H-14-378-quickgelu", "dfn5b")})
  lead open_clip's table.
- SigLIP 2, Perception Encoder and MetaCLIP 2 are newer than that table.
- For search of pictures by sentences look at Flickr30k and COCO rather than ImageNet.

### For many languages

- SigLIP 2 and `ViT-B-16-SigLIP-i18n-256` ({figure("ViT-B-16-SigLIP-i18n-256", "webli")} in English):
  about a hundred languages.
- `xlm-roberta-base-ViT-B-32` ({figure("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k")} in English)
  has the image encoder of `ViT-B-32`, and its speed.
- `xlm-roberta-large-ViT-H-14`
  ({figure("xlm-roberta-large-ViT-H-14", "frozen_laion5b_s13b_b90k")} in English) is its large sister.
- `nllb-clip-*` cover 201 languages. The service tokenizes all texts as of the language
  in the model's configuration, English by default.
- MetaCLIP 2 (`*-worldwide`): some 300 languages, for GPUs.

Most other models were trained on English texts."""
