"""Texts of many kinds, on which an exported tokenizer must give the ids of open_clip's.

All are made by code, always the same. None has lone surrogates, which are not valid UTF-8.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from clipserve_exporter.cifar10 import NAMES, TEMPLATES

SENTENCES = (
    "A man in a blue T-shirt isn't riding his bike; he's carrying it (with 2 bags) up Hill Street!",
    "SALE: 50% off everything, e.g. shoes & socks @ $19.99 -- today only... don't miss it?",
    "see https://example.org/a_b?c=d&e=%20f#g or write to someone@example.org",
    "def f(x):\n\treturn {'a': x[0] ** 2, \"b\": `y`} # comment",
    "Deux garçons jouent à l'école, où l'œuvre d'Émile n'est plus qu'un cœur brisé.",
    "Die Straße zur Schänke überquert öfter ein großer Fuß, sagte Jürgen über Ärger.",
    "El niño pequeño comió piñas. ¿Dónde está la cigüeña? ¡Aquí!",
    "Příliš žluťoučký kůň úpěl ďábelské ódy, a zażółć gęślą jaźń.",
    "İstanbul'da ışık, ığdır ve çağlayan; ŞİŞLİ büyük şehir.",
    "Trời hôm nay đẹp quá, chúng tôi uống cà phê sữa đá ở Đà Nẵng.",
    "Съешь ещё этих мягких французских булок, да выпей же чаю. ЙОЖИК",
    "Жебракують філософи при ґанку церкви в Гадячі, ще й шатро їхнє п'яне знаємо.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, ΟΔΥΣΣΕΥΣ και Ὀδυσσεύς.",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق ١٢٣",
    "این یک عکس از گربه‌ای سیاه است که می‌خوابد ۴۵۶",
    "עטלף אבק נס דרך מזגן שהתפוצץ כי חם, שָׁלוֹם",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश १२३",
    "আমি বাংলায় গান গাই, ছবিতে তিনটি নৌকা ৩",
    "யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது எங்கும் காணோம்",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน",
    "いろはにほへと ちりぬるを、ワカヨタレソ ツネナラム。ﾊﾝｶｸ ＡＢＣ１２３",
    "天地玄黃,宇宙洪荒。日月盈昃,辰宿列張。",
    "一只可爱的小猫坐在窗台上看着外面的雨，旁边有3本书和iPhone15。",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. ㅋㅋㅋ",
    "ქართული ენა და მისი ანბანი, Հայոց այբուբենը, አማርኛ ፊደል",
    "Picha ya watoto wawili wanaocheza mpira kando ya bahari; ọjọ́ dára ní ilẹ̀ Yorùbá.",
)
"""A sentence in each of many languages and scripts."""
EMOJI = (
    "😀",
    "😀😃😄",
    "👍🏽",
    "👩\u200d👩\u200d👧\u200d👦",
    "🏳\ufe0f\u200d🌈",
    "🇫🇷🇩🇪",
    "❤\ufe0f",
    "☕\ufe0e",
    "1\ufe0f\u20e32\ufe0f\u20e3",
    "🧑🏿\u200d🚀 in space",
    "a🙂b",
    "🤷🏼\u200d♂\ufe0f!!!",
    "©\ufe0f®\ufe0f™\ufe0f",
)
WHITESPACE = (
    "",
    " ",
    "\n",
    "\t \r\n ",
    "  two  spaces  ",
    "a\nb\r\nc\td",
    "no\u00a0break",
    "ideographic\u3000space",
    "\u2003em\u2009thin",
    "zero\u200bwidth",
    "line\u2028and\u2029paragraph",
    "\ufeffmark",
    "a\u0085b",
    "\v\f",
    "tab\there",
    "trailing space ",
    " leading space",
    "▁",
    "a▁b",
    "▁ ▁a",
    "_",
    "snake_case_name",
    "a _ b",
)
ENTITIES = (
    "&amp;",
    "a &amp; b",
    "&amp;amp;amp; c",
    "&lt;b&gt;bold&lt;/b&gt;",
    "<b>bold</b> &amp; more",
    "&quot;q&quot;",
    "&nbsp;",
    "caf&eacute;",
    "&#233;&#xe9;",
    "&#128512;",
    "&#0;&#1;",
    "&#xD800;",
    "&#99999999999;",
    "&unknown;",
    "&copy 2020",
    "AT&T",
    "x&y;z",
    "&hearts;&larr;",
    "&amp;lt;i&amp;gt;",
    "&#38;#38;",
)
QUOTES = (
    "“curly” and ‘single’",
    "l’été",
    "don´t `do` it",
    "«guillemets» „low“",
    "ﬁnd ﬂour ﬃ",
    "Ⅷ ① ½ ² ㎏ ℃",
    "…—–‐",
    "\u212b\u00c5A\u030a",
    "ﷺ",
    "ｆｕｌｌｗｉｄｔｈ",
    "ſtraße ẞ",
    "İ ı ǅ ŉ",
    "H₂O e=mc²",
    "nai\u0308ve",
    "\u0301",
    "a\u0301b\u0300c\u0304d",
    "Z\u0337\u0309\u0344a\u0338\u031b\u0348l\u0334",
    "កម្ពុជា",
    "க்ஷ",
    "a\u00adb",
    "\u061c",
    "\u202eright to left\u202c",
    "\u2066isolate\u2069",
)
CONTROL = tuple(f"a{chr(code)}b {chr(code)}" for code in (*range(32), 127, *range(128, 160)))
BLOCK = 64
"""Characters of one text of the Unicode blocks."""
LAST_BLOCK = 0x20000
"""Blocks beyond hold rare Chinese characters alone."""


def corpus(vocabulary: Sequence[str], special: Iterable[str]) -> dict[str, list[str]]:
    """Returns kind of text → texts; about 2,900 in all for a large vocabulary.

    Args:
        vocabulary: tokens of the tokenizer in the order of their ids, of which some are joined to texts.
        special: texts of special tokens, which are spelled out in some texts.
    """
    draw = random.Random(0)
    return {
        "prompts": [template.format(name) for template in TEMPLATES for name in NAMES],
        "sentences": [variant for text in SENTENCES for variant in variants(text)],
        "words": sorted({word for text in SENTENCES for word in text.split()}),
        "emoji": [*EMOJI, *(f"a photo of {text}" for text in EMOJI)],
        "whitespace": list(WHITESPACE),
        "entities": list(ENTITIES),
        "quotes": list(QUOTES),
        "control": list(CONTROL),
        "mojibake": list(mojibake()),
        "blocks": list(blocks()),
        "mixed": [mixed(draw) for _ in range(300)],
        "vocabulary": list(joined(vocabulary, draw)),
        "special": [text for token in special for text in spelled_out(token)],
        "long": list(long_texts(draw)),
    }


def variants(text: str) -> tuple[str, ...]:
    """A text as it is, in capitals, decomposed, without spaces, and twice."""
    return text, text.upper(), unicodedata.normalize("NFD", text), text.replace(" ", ""), f"{text} {text}"


def mojibake() -> Iterator[str]:
    """Texts in UTF-8 that were read in another encoding."""
    for text in (*SENTENCES, *EMOJI, *QUOTES):
        for encoding in ("latin-1", "cp1252", "cp1251"):
            yield text[:80].encode().decode(encoding, errors="replace")


def blocks() -> Iterator[str]:
    """Texts of consecutive assigned characters, which cover every script."""
    for start in range(0, LAST_BLOCK, BLOCK):
        characters = [
            chr(code)
            for code in range(start, start + BLOCK)
            if assigned(chr(code)) and not chr(code).isspace()
        ]
        if characters:
            yield "".join(characters[:24])
            yield " ".join(characters[24:40])


def assigned(character: str) -> bool:
    """Whether Unicode assigns a character; false for surrogates and private characters."""
    return unicodedata.category(character) not in ("Cn", "Cs", "Co")


def mixed(draw: random.Random) -> str:
    """A text of parts of others, and of single characters of any script."""
    parts = []
    for _ in range(draw.randint(2, 8)):
        text = draw.choice(draw.choice((SENTENCES, EMOJI, QUOTES, ENTITIES, WHITESPACE)))
        at = draw.randint(0, len(text))
        parts.append(text[at : at + draw.randint(1, 12)])
        code = draw.choice(
            (draw.randint(32, 0x24F), draw.randint(0x250, 0xFFFF), draw.randint(0x10000, 0x1FFFF))
        )
        parts.append(chr(code) if assigned(chr(code)) else draw.choice((" ", "-", "'s ", "10")))
    return "".join(parts)


def joined(vocabulary: Sequence[str], draw: random.Random) -> Iterator[str]:
    """Texts of tokens of the vocabulary, as written and with the signs of spaces replaced."""
    if not vocabulary:
        return
    for _ in range(300):
        tokens = [draw.choice(vocabulary) for _ in range(draw.randint(1, 10))]
        yield "".join(tokens).replace("▁", " ").replace("Ġ", " ").replace("##", "")
    yield from (draw.choice(vocabulary) for _ in range(60))


def spelled_out(token: str) -> tuple[str, ...]:
    """Texts with a special token in them."""
    return token, f"a {token} b", f"a{token}b", f"{token}{token}", f" {token} a", f"({token})!", token.upper()


def long_texts(draw: random.Random) -> Iterator[str]:
    """Texts beyond any context length, with and without spaces, and words that are very long."""
    words = " ".join(SENTENCES).split()
    for size in (20, 40, 80, 160, 320, 1500):
        yield " ".join(draw.choice(words) for _ in range(size))
        yield "".join(draw.choice(words) for _ in range(size // 2))
    yield from (
        "x" * 90,
        "x" * 101,
        "x" * 3000,
        "1234567890" * 100,
        "! " * 500,
        "黑猫" * 500,
        "😀" * 300,
        "é" * 400,
    )
    yield from ("a photo of " * n + "a cat" for n in range(2, 60))
