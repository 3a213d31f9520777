"""Contact sheets: hits with picture, rank, score and name, as PNG or HTML."""

from __future__ import annotations

from pathlib import Path

from clipserve.tools.sheets.entries import Sheet


def write_sheet(sheet: Sheet, path: Path) -> None:
    """Writes .png, or .html with embedded pictures. Raises ValueError for another suffix."""
    if path.suffix == ".png":
        from clipserve.tools.sheets.contact_sheet_png import sheet_png

        sheet_png(sheet).save(path, "PNG", optimize=True)
    elif path.suffix == ".html":
        from clipserve.tools.sheets.contact_sheet_html import sheet_html

        path.write_text(sheet_html(sheet), encoding="utf-8")
    else:
        raise ValueError(f"contact sheets are written as .png or .html, not as {path.name!r}")
