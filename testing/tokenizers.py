"""Small Hugging Face tokenizers of every kind that open_clip's models use, trained here in a second.

Each function writes a folder as a model hub holds it, which `AutoTokenizer` and open_clip's `HFTokenizer`
read. Runs in the models' environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
from clipserve_exporter import sentencepiece_shim
from tokenizers import ByteLevelBPETokenizer, models, normalizers, pre_tokenizers
from transformers import BertTokenizer, GemmaTokenizer, NllbTokenizer, RobertaTokenizer
from transformers.convert_slow_tokenizer import SentencePieceExtractor

sentencepiece_shim.make_importable()

CORPUS = (
    "a photo of a cat sitting on a red sofa",
    "a photo of a dog running over the green meadow",
    "an old street with bicycles, cars and two people at night",
    "two small yellow birds in a tree, photographed from below",
    "the quick brown fox jumps over the lazy dog 0 1 2 3 4 5 6 7 8 9",
    "THE TITLE OF A BOOK ABOUT SHIPS, TRAINS AND AIRPLANES",
    "une photo d'un chat noir sur un canapé rouge près de la fenêtre",
    "ein Foto von einem großen Hund, der über die grüne Wiese läuft",
    "una foto de una niña pequeña con un sombrero amarillo en la playa",
    "uma fotografia de um avião sobre as montanhas ao pôr do sol",
    "zdjęcie żółtego ptaka siedzącego na gałęzi drzewa",
    "kırmızı bir arabanın yanında duran iki küçük çocuk",
    "một bức ảnh chụp con mèo đen đang ngủ trên ghế",
    "фотография маленькой собаки, которая бежит по зелёной траве",
    "світлина старого міста вночі з висоти пташиного польоту",
    "μια φωτογραφία μιας μαύρης γάτας πάνω στον καναπέ",
    "صورة لقطة سوداء تجلس على أريكة حمراء بجانب النافذة",
    "תמונה של כלב גדול רץ על הדשא הירוק",
    "लाल सोफे पर बैठी एक काली बिल्ली की तस्वीर",
    "ছবিতে একটি ছোট হলুদ পাখি গাছের ডালে বসে আছে",
    "ภาพถ่ายของแมวดำนั่งอยู่บนโซฟาสีแดง",
    "赤いソファの上に座っている黒い猫の写真",
    "초록색 잔디밭 위를 달리는 큰 개의 사진",
    "一张黑猫坐在红色沙发上的照片",
    "一張大狗在綠色草地上奔跑的照片",
    "夜晚的老街上有自行车、汽车和两个人",
    "picha ya mbwa mkubwa anayekimbia juu ya nyasi",
    "e = mc², 3 × 4 = 12, ½ + ¼ = ¾, 20 °C, 5 €, 10 £, © ® ™ … “quoted” ‘text’ – and — dashes",
)
"""Captions in many languages: what the vocabularies are trained on."""
PIECES = 600
"""Number of tokens of a vocabulary, roughly."""
LANGUAGES = ["eng_Latn", "fra_Latn", "deu_Latn", "rus_Cyrl", "arb_Arab", "zho_Hans"]
"""Codes of source languages, as NLLB names them."""


@dataclass(frozen=True)
class Built:
    """A tokenizer in a folder.

    Attributes:
        text_cfg: what the `text_cfg` of an open_clip model says about it: `hf_tokenizer_name` (the folder),
            `tokenizer_kwargs`, `context_length` and `vocab_size`.
        pad_id: the id that fills a row after the text.
    """

    kind: str
    folder: Path
    text_cfg: dict[str, Any]
    pad_id: int


def build(kind: str, folder: Path) -> Built:
    """Trains a tokenizer of a kind, one of KINDS, and writes it into `folder`, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, pad_id = KINDS[kind](folder)
    kwargs, context = OPEN_CLIP[kind]
    text_cfg = {
        "hf_tokenizer_name": str(folder),
        "tokenizer_kwargs": kwargs,
        "context_length": context,
        "vocab_size": vocabulary,
    }
    return Built(kind, folder, text_cfg, pad_id)


def siglip(folder: Path) -> tuple[int, int]:
    """SigLIP's: T5's unigram pieces; the end token is also the padding."""
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    size = sentencepiece_model(folder / "spiece.model", "unigram", pad_piece="<pad>", **ids)
    settings = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>", "extra_ids": 0}
    write(folder / "tokenizer_config.json", settings | {"tokenizer_class": "T5Tokenizer"})
    return size, 1


def siglip2(folder: Path) -> tuple[int, int]:
    """SigLIP 2's: Gemma's BPE with bytes as fallback, and an end token but no start token."""
    ids = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3}
    names = {"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>"}
    forms = {"byte_fallback": True, "add_dummy_prefix": False, "remove_extra_whitespaces": False}
    path = folder / "gemma.model"
    size = sentencepiece_model(path, "bpe", normalization_rule_name="identity", **ids, **names, **forms)
    parts = SentencePieceExtractor(str(path)).extract(models.BPE)
    tokenizer = GemmaTokenizer(
        vocab=parts["vocab"], merges=parts["merges"], mask_token="<unk>",
        padding_side="right", add_bos_token=False, add_eos_token=True,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    path.unlink()
    return size, 0


def clipa(folder: Path) -> tuple[int, int]:
    """CLIPA's: word pieces of BERT in lower case."""
    return word_pieces(folder), 0


def chinese_clip(folder: Path) -> tuple[int, int]:
    """ChineseCLIP's: word pieces of BERT, each Chinese character a word, as a file of words alone."""
    size = word_pieces(folder)
    for path in folder.glob("tokenizer*.json"):
        path.unlink()
    write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    return size, 0


def xlm_roberta(folder: Path) -> tuple[int, int]:
    """XLM-RoBERTa's: unigram pieces, shifted by one, as a sentencepiece file alone."""
    ids = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
    size = sentencepiece_model(folder / "sentencepiece.bpe.model", "unigram", **ids)
    settings = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
    write(folder / "tokenizer_config.json", settings)
    # <pad> in front of the pieces, <mask> behind them.
    return size + 2, 1


def roberta(folder: Path) -> tuple[int, int]:
    """RoBERTa's: BPE of bytes."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, PIECES, min_frequency=2, special_tokens=special, show_progress=False)
    trained.save_model(str(folder))
    RobertaTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    return trained.get_vocab_size(), 1


def mt5(folder: Path) -> tuple[int, int]:
    """mT5's: unigram pieces with bytes as fallback, as a sentencepiece file alone."""
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    size = sentencepiece_model(
        folder / "spiece.model", "unigram", pad_piece="<pad>", byte_fallback=True, **ids
    )
    settings = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "extra_ids": 0}
    write(folder / "tokenizer_config.json", settings | {"tokenizer_class": "T5Tokenizer"})
    return size, 0


def nllb(folder: Path) -> tuple[int, int]:
    """NLLB's: BPE pieces, with a token of the source language before each text."""
    ids = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
    path = folder / "sentencepiece.bpe.model"
    sentencepiece_model(path, "bpe", **ids)
    settings = {"tokenizer_class": "NllbTokenizer", "extra_special_tokens": LANGUAGES, "src_lang": "fra_Latn"}
    write(folder / "tokenizer_config.json", settings)
    tokenizer = NllbTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return len(tokenizer), 1


KINDS: dict[str, Callable[[Path], tuple[int, int]]] = {
    "siglip": siglip,
    "siglip2": siglip2,
    "clipa": clipa,
    "chinese_clip": chinese_clip,
    "xlm_roberta": xlm_roberta,
    "roberta": roberta,
    "mt5": mt5,
    "nllb": nllb,
    "xlm_v": xlm_roberta,
}
"""Each writes a folder and returns the number of tokens, special ones included, and the id of the padding."""

OPEN_CLIP: dict[str, tuple[dict[str, Any], int]] = {
    "siglip": ({"clean": "canonicalize"}, 64),
    "siglip2": ({"clean": "canonicalize"}, 64),
    "clipa": ({"strip_sep_token": True}, 32),
    "chinese_clip": ({"clean": "lower"}, 52),
    "xlm_roberta": ({}, 77),
    "roberta": ({}, 77),
    "mt5": ({"clean": "canonicalize"}, 77),
    "nllb": ({}, 77),
    "xlm_v": ({}, 77),
}
"""`tokenizer_kwargs` and `context_length` of an open_clip model with each kind."""


def sentencepiece_model(path: Path, kind: str, **settings: Any) -> int:
    """Trains a sentencepiece model, and returns its number of pieces."""
    settings = {"normalization_rule_name": "nmt_nfkc", "character_coverage": 1.0} | settings
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS * 2),
            model_writer=file,
            model_type=kind,
            vocab_size=PIECES + (256 if settings.get("byte_fallback") else 0),
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
            **settings,
        )
    return sentencepiece.SentencePieceProcessor(model_file=str(path)).get_piece_size()


def word_pieces(folder: Path) -> int:
    """Writes words, characters and endings of words as BERT's tokenizer, and returns their number."""
    lower = normalizers.BertNormalizer(lowercase=True)
    words = [
        word
        for text in CORPUS
        for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(lower.normalize_str(text))
    ]
    pieces = {character: None for word in words for character in (word[:1], *(f"##{c}" for c in word[1:]))}
    pieces |= dict.fromkeys(words) | {f"##{word[at:]}": None for word in words for at in range(1, len(word))}
    listed = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    (folder / "vocab.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    return len(listed)


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")
