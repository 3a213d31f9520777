"""The report as one HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from clipserve.tools.evaluation.report import BINS, Cell, ClassRow, Matrix, Report, percent
from clipserve.tools.sheets.drawing import WRONG, css, heat
from clipserve.tools.sheets.page import escape, figures, page

STYLE = """
.scroll { overflow-x: auto; padding-bottom: 6px; }
.matrix { border-collapse: separate; border-spacing: 2px; }
.matrix th, .matrix td { border: 0; padding: 0; }
.matrix td { width: 46px; min-width: 46px; height: 40px; background: var(--card); text-align: center;
  border-radius: 4px; font-size: 13px; }
.matrix thead div { position: relative; height: var(--head); }
.matrix thead span { position: absolute; left: 50%; bottom: 6px; width: 0; line-height: 0;
  white-space: nowrap; transform: rotate(-90deg); transform-origin: 0 0; }
.matrix th { font-weight: 400; color: var(--ink); white-space: nowrap; }
.matrix tbody th { text-align: right; padding-right: 10px; }
.matrix td.total { background: none; color: var(--muted); text-align: left; padding-left: 10px;
  white-space: nowrap; }
.bar { display: inline-block; width: 160px; height: 10px; border-radius: 5px; background: var(--card);
  overflow: hidden; vertical-align: middle; margin-right: 8px; }
.bar i { display: block; height: 100%; background: var(--accent); }
.share, .number { white-space: nowrap; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 0 48px; }
summary { cursor: pointer; color: var(--accent); margin-bottom: 12px; }
svg text { font: 12px system-ui, sans-serif; fill: var(--muted); }
"""


def report_html(report: Report) -> str:
    return page(report.title, report.subtitle, STYLE, list(sections(report)))


def sections(report: Report) -> Iterator[str]:
    yield figures(report.figures)
    if report.matrix is not None:
        yield "<h2>Confusion matrix</h2>"
        yield "<p>Rows: right class. Columns: class named by the model. Colors: share of the row.</p>"
        yield matrix_html(report.matrix)
    else:
        yield f"<h2>Accuracy over {len(report.classes):,} classes</h2>"
        yield histogram(report.histogram())
    if report.mistakes:
        yield "<h2>Most frequent mistakes</h2>"
        yield table(
            ("shows", "named", "images", "of the class"),
            (
                (escape(m.right), escape(m.said), f"{m.images:,}", bar(m.share, css(WRONG)))
                for m in report.mistakes
            ),
            numbers=(2,),
        )
    if report.matrix is not None:
        yield "<h2>Classes</h2>" + class_table(report.classes)
        return
    yield '<div class="columns"><div><h2>Hardest classes</h2>'
    yield class_table(report.worst(25)) + "</div><div><h2>Easiest classes</h2>"
    yield class_table(report.best(25)) + "</div></div>"
    yield f"<h2>All classes</h2><details><summary>Show all {len(report.classes):,}</summary>"
    yield class_table(report.classes) + "</details>"


def matrix_html(matrix: Matrix) -> str:
    columns = "".join(f"<th><div><span>{escape(name)}</span></div></th>" for name in matrix.columns)
    head = 24 + 8 * min(60, max(map(len, matrix.columns)))
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(map(cell_html, row))}"
        f'<td class="total">{percent(next(cell.share for cell in row if cell.right))}</td></tr>'
        for name, row in matrix.rows
    )
    return (
        f'<div class="scroll"><table class="matrix" style="--head:{head}px"><thead><tr><th></th>'
        f"{columns}<th></th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def cell_html(cell: Cell) -> str:
    if not cell.images:
        return "<td></td>"
    background, text = heat(cell.share, right=cell.right)
    return f'<td style="background:{css(background)};color:{css(text)}">{cell.images:,}</td>'


def class_table(rows: Iterable[ClassRow]) -> str:
    return table(
        ("class", "images", "top-1", "top-5"),
        (
            (
                escape(row.name),
                f"{row.images:,}",
                bar(row.top1),
                f'<span class="number">{percent(row.top5)}</span>',
            )
            for row in rows
        ),
        numbers=(1,),
    )


def bar(share: float, color: str = "var(--accent)") -> str:
    filled = f'<i style="width:{100 * share:.1f}%;background:{color}"></i>'
    return f'<span class="share"><span class="bar">{filled}</span>{percent(share)}</span>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A plain table; cells are HTML, columns in `numbers` are right-aligned."""

    def cell(tag: str, i: int, content: str) -> str:
        return f"<{tag}{' class=number' if i in numbers else ''}>{content}</{tag}>"

    head = "".join(cell("th", i, name) for i, name in enumerate(heads))
    body = "".join(
        f"<tr>{''.join(cell('td', i, content) for i, content in enumerate(row))}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def histogram(counts: Sequence[int], width: int = 760, height: int = 200) -> str:
    step, most = width / BINS, max(1, *counts)
    bars = "".join(
        f'<rect x="{i * step + 2:.1f}" y="{height - height * count / most:.1f}" width="{step - 4:.1f}" '
        f'height="{height * count / most:.1f}" rx="3" fill="#0e7490"><title>{count} classes</title></rect>'
        f'<text x="{(i + 0.5) * step:.1f}" y="{height - height * count / most - 5:.1f}" '
        f'text-anchor="middle">{count or ""}</text>'
        for i, count in enumerate(counts)
    )
    marks = "".join(
        f'<text x="{width * mark / 100}" y="{height + 18}" text-anchor="middle">{mark} %</text>'
        for mark in range(0, 101, 20)
    )
    return (
        f'<svg viewBox="-24 -20 {width + 48} {height + 44}" width="{width + 48}" role="img" '
        f'aria-label="classes by accuracy" style="max-width:100%">{bars}{marks}</svg>'
        "<p>Classes by their top-1 accuracy.</p>"
    )
