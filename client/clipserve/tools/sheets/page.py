"""The frame of HTML pages: one file without scripts or external resources."""

from __future__ import annotations

import html
from collections.abc import Sequence

from clipserve.safe_text import one_line

STYLE = """
:root { color-scheme: light; --ink: #1c2026; --muted: #6a737d; --card: #f4f6f8; --line: #dee2e6;
  --accent: #0e7490; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 28px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 44px 0 14px; }
p { margin: 0 0 12px; color: var(--muted); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: left; border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-weight: 600; }
.number { text-align: right; }
.figures { display: flex; flex-wrap: wrap; gap: 14px; margin: 26px 0 0; }
.figure { background: var(--card); border-radius: 10px; padding: 14px 20px; min-width: 132px; }
.figure b { display: block; white-space: nowrap; font-size: 26px; line-height: 1.25; }
.figure span { color: var(--muted); }
"""


def escape(text: str) -> str:
    """Escapes the text for HTML elements and quoted attributes, including unsafe characters."""
    return html.escape(one_line(text))


def page(title: str, subtitle: str, style: str, body: Sequence[str]) -> str:
    """A complete page. `body` is HTML, the other texts are plain."""
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>",
            f"<h1>{escape(title)}</h1>\n<p>{escape(subtitle)}</p>",
            *body,
            "</main>\n</body>\n</html>\n",
        )
    )


def figures(pairs: Sequence[tuple[str, str]]) -> str:
    """Cards with numbers; each pair has name and value."""
    cards = (
        f'<div class="figure"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in pairs
    )
    return f'<div class="figures">{"".join(cards)}</div>'
