"""Makes the golden set: odd image files and strings, with the pixels and ids that open_clip makes of them.

Run it with the models' environment: `.venv-models/bin/python tests/golden/make.py`. The pictures and strings
are our own and may be used by anyone for anything (CC0); photographs are the demo's (demo/SOURCES.md).
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import regex
from clipserve_exporter.torchvision_shim import make_importable
from PIL import Image, ImageCms

make_importable()

from open_clip import SimpleTokenizer, image_transform  # noqa: E402

HERE = Path(__file__).parent
PHOTOS = HERE.parents[1] / "demo" / "photos"
SIZE = 64
PHOTO_SIZE = 224

STRINGS = [
    "",
    " ",
    "\t\n ",
    "a",
    "A photo of a cat.",
    "a photo of a cat",
    "  a   photo\tof\r\n a\ncat  ",
    "itap of my dog",
    "a low resolution photo of the hard to see toy airplane.",
    "a bad photo of the t-rex, isn't it? They'll say we've 3 or 4; I'm sure he'd know: it's John's",
    "DON'T SHOUT! I'LL HEAR YOU",
    "1234567890 3.14159 1,000,000 ½ ² Ⅷ ٣",
    "C++ / C# & F# <b>bold</b> {braces} [brackets] ~tilde~ `tick` |pipe| \\ ^ _under_score_ @home #tag $5 9%",
    "!!! ... --- ___ ??? ;;; ((()))",
    "&lt;b&gt; &amp;amp; &quot;quoted&quot; &#233;t&eacute; &hearts; &NTILDE;o &nosuchthing; AT&T",
    "<p>caf&eacute;</p>",
    "naïve café déjà vu Ångström façade Zürich smørrebrød",
    "cafe\u0301 A\u030angstro\u0308m",
    "schÃ¶n, cafÃ©, donâ€™t, â€œquotedâ€\x9d, Ð¿Ñ€Ð¸Ð²ÐµÑ‚",
    "‘single’ “double” „low“ «angled» … – — ‐",
    "ﬁne ﬂuﬀy ligatures ﬃ ﬄ",
    "ｆｕｌｌ ｗｉｄｔｈ　ｔｅｘｔ",
    "Größe STRASSE Straße ΣΊΣΥΦΟΣ ΟΔΥΣΣΕΥΣ İstanbul ıŞIK",
    "'ſ long ſ in Waſſer",
    "一只猫的照片",
    "猫の写真、とても可愛いです。",
    "고양이 사진",
    "фотография кошки",
    "صورة قطة",
    "תמונה של חתול",
    "एक बिल्ली की तस्वीर",
    "ภาพถ่ายของแมว",
    "μια φωτογραφία μιας γάτας",
    "😀 😂😂😂 🐱🐶 ❤️ 👍🏽",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷",
    "zero\u200bwidth soft\u00adhyphen non\u00a0breaking \ufeffbom \u2028line \u2029paragraph",
    "bell\x07 escape\x1b[31mred\x1b[0m null\x00 delete\x7f next\x85line",
    "<|startoftext|>",
    "<|endoftext|>",
    "a <|startoftext|>dog<|endoftext|> b",
    "<|STARTOFTEXT|> <|endoftext>",
    "<start_of_text> <end_of_text>",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "thinkbigsundaywithmarsha blackandwhitephotography",
    "a" * 100,
    "ab" * 200,
    "z" * 1000,
    "dog " * 75,
    "dog " * 74 + "cat",
    "dog " * 75 + "cat",
    "dog " * 76,
    "dog " * 500,
    "é " * 400,
    "猫" * 300,
    "!" * 300,
    "." * 75 + " " + "." * 75,
    "\n".join(f"line {i}" for i in range(50)),
    "the quick brown fox jumps over the lazy dog " * 20,
    "&amp;" * 100,
    "😀" * 100,
]

SPELLED = [
    "a <start_of_text> dog",
    "a dog<end_of_text>",
    "<END_OF_TEXT>",
    "<start_of_text><end_of_text>",
    "a <|endoftext|> dog",
    "a <start_of_text dog",
    "<ſtart_of_text> x",
    "<start_of_text> " * 80,
]
"""Strings with special tokens as open_clip spells them."""


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """RGB with gradients, hard edges and noise."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / max(1, width - 1)
    green = 255 * y / max(1, height - 1)
    blue = 255 * ((x // 5 + y // 7) % 2)
    noise = np.random.default_rng(seed).integers(-40, 40, (height, width, 3))
    return (np.stack([red, green, blue], axis=2) + noise).clip(0, 255).astype(np.uint8)


def images() -> dict[str, tuple[Image.Image, dict[str, Any]]]:
    """File name → picture and the options to save it with."""
    rgb = Image.fromarray(picture(97, 71))
    alpha = Image.fromarray(picture(97, 71, 1)[..., 2])
    rgba, la = rgb.copy(), rgb.convert("L")
    rgba.putalpha(alpha)
    la.putalpha(alpha)
    palette = rgb.quantize(16, dither=Image.Dither.NONE)
    frames = [Image.fromarray(picture(80, 90, seed)) for seed in range(3)]
    rotated = Image.Exif()
    rotated[0x0112] = 6
    animation = {"save_all": True, "append_images": frames[1:], "duration": 50}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    return {
        "rgb.png": (rgb, {}),
        "rgba.png": (rgba, {}),
        "gray.png": (la.convert("L"), {}),
        "gray_alpha.png": (la, {}),
        "one_bit.png": (rgb.convert("1"), {}),
        "palette.png": (palette, {}),
        "palette_transparent.png": (palette, {"transparency": 3}),
        "profile.png": (rgb, {"icc_profile": profile}),
        "one_pixel.png": (Image.fromarray(picture(1, 1)), {}),
        "exact_size.png": (Image.fromarray(picture(SIZE, SIZE)), {}),
        "smaller.png": (Image.fromarray(picture(31, 17)), {}),
        "wide.png": (Image.fromarray(picture(401, 23)), {}),
        "tall.png": (Image.fromarray(picture(9, 300)), {}),
        "odd_crop.png": (Image.fromarray(picture(130, 127)), {}),
        "rgb.jpg": (rgb, {"quality": 90}),
        "gray.jpg": (la.convert("L"), {"quality": 90}),
        "cmyk.jpg": (rgb.convert("CMYK"), {"quality": 90}),
        "progressive.jpg": (rgb, {"progressive": True, "subsampling": 2}),
        "exif_rotated.jpg": (rgb, {"exif": rotated}),
        "lossy.webp": (rgb, {"quality": 80}),
        "lossless_alpha.webp": (rgba, {"lossless": True}),
        "animated.webp": (frames[0], animation),
        "animated.gif": (frames[0], animation),
        "transparent.gif": (palette, {"transparency": 3}),
        "rgb.bmp": (rgb, {}),
        "rgb.ppm": (rgb, {}),
        "gray.pgm": (la.convert("L"), {}),
        "one_bit.pbm": (rgb.convert("1"), {}),
        "rgb.tiff": (rgb, {"compression": "tiff_lzw"}),
        "rotated.tiff": (rgb, {"exif": rotated, "compression": "tiff_deflate"}),
        "cmyk.tiff": (rgb.convert("CMYK"), {"compression": "packbits"}),
        "pages.tiff": (frames[0], {"save_all": True, "append_images": frames[1:]}),
    }


def expected(content: bytes, size: int) -> np.ndarray:
    """What open_clip's own transform makes of a file, before it becomes a tensor: uint8 [size, size, 3]."""
    image = Image.open(io.BytesIO(content))
    for step in image_transform(size, is_train=False).transforms[:3]:
        image = step(image)
    return np.asarray(image)


def openai_tokenizer() -> SimpleTokenizer:
    """open_clip's tokenizer with the special tokens spelled as OpenAI does."""
    tokenizer = SimpleTokenizer()
    pattern = tokenizer.pat.pattern
    for ours, theirs in (("<start_of_text>", "<|startoftext|>"), ("<end_of_text>", "<|endoftext|>")):
        tokenizer.encoder[theirs] = tokenizer.encoder.pop(ours)
        tokenizer.cache[theirs] = theirs
        pattern = pattern.replace(ours, regex.escape(theirs))
    tokenizer.pat = regex.compile(pattern, regex.IGNORECASE)
    return tokenizer


def write_tokens(name: str, tokenizer: SimpleTokenizer, strings: list[str]) -> None:
    """Writes strings with their token ids."""
    rows = []
    for string in strings:
        # The numbers of the special tokens; the tokenizer itself was told only their spelling.
        ids = [49406, *tokenizer.encode(string), 49407]
        kept = ids if len(ids) <= 77 else [*ids[:76], 49407]
        rows.append({"text": string, "ids": kept, "truncated": len(ids) > 77})
    lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows)
    (HERE / name).write_text(f"[\n{lines}\n]\n")


def main() -> None:
    """Writes images/, pixels.npz and both files of tokens anew."""
    folder = HERE / "images"
    folder.mkdir(exist_ok=True)
    pixels = {}
    for name, (image, options) in images().items():
        image.save(folder / name, **options)
        pixels[name] = expected((folder / name).read_bytes(), SIZE)
    for name in ("cat.jpg", "rocket.jpg"):
        pixels[name] = expected((PHOTOS / name).read_bytes(), PHOTO_SIZE)
    np.savez_compressed(HERE / "pixels.npz", **pixels)

    write_tokens("tokens.json", openai_tokenizer(), STRINGS)
    write_tokens("open_clip_tokens.json", SimpleTokenizer(), SPELLED)


if __name__ == "__main__":
    main()
