"""infinity-emb and a model for it: to be run by the peer's own environment.

python bench/speed/infinity.py model FOLDER        writes a CLIP of ViT-B/32's architecture, weights random
python bench/speed/infinity.py v2 …                is infinity_emb's own command
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
VOCABULARY = ROOT / "gateway" / "clipserve_gateway" / "data" / "bpe_simple_vocab_16e6.txt.gz"
MERGES = slice(1, 49152 - 256 - 2 + 1)
"""Lines of the file that CLIP uses."""


def write_model(folder: Path) -> None:
    """Model, image processor and tokenizer, as Hugging Face's CLIP folders have them."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir(parents=True, exist_ok=True)
    merges = gzip.decompress(VOCABULARY.read_bytes()).decode().split("\n")[MERGES]
    letters = list(bytes_to_unicode().values())
    words = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *("".join(merge.split()) for merge in merges),
    ]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).save_pretrained(folder)


def main() -> None:
    """See the module's docstring."""
    from clipserve_exporter.torchvision_shim import make_importable

    make_importable()
    if sys.argv[1] == "model":
        write_model(Path(sys.argv[2]))
        return
    from infinity_emb.cli import cli

    cli()


if __name__ == "__main__":
    main()
