from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from client.pictures import pixels, png, saved
from clipserve.tools.sheets import drawing
from clipserve.tools.sheets.contact_sheet import write_sheet
from clipserve.tools.sheets.contact_sheet_png import columns_for, sheet_png
from clipserve.tools.sheets.entries import Entry, Sheet, notes_of
from clipserve.tools.sheets.fonts import width_of
from clipserve.tools.sheets.group_sheet import GroupSheet, Row, write_group_sheet
from clipserve.tools.sheets.thumbnail import MODEL_VIEW, NotShown, thumbnail
from PIL import Image


@pytest.fixture
def sheet(tmp_path):
    entries = []
    for i in range(4):
        path = tmp_path / f"p{i}.png"
        path.write_bytes(png(i, 60, 90))
        entries.append(Entry(f"<{i}>.png", 0.9 - i / 10, path))
    entries.append(Entry("gone.png", 0.1, tmp_path / "gone.png"))
    entries.append(Entry("pointless", -0.1, None))
    return Sheet("“a <red> car”", "6 best of things", entries)


def test_a_picture_of_the_hits_is_drawn(sheet, tmp_path):
    write_sheet(sheet, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        drawn = np.asarray(image)
    assert drawn.shape[1] > 700
    # The first hit's picture is on the sheet, in its frame.
    tile = np.asarray(thumbnail(sheet.entries[0].path, 240, 240))
    middle = tile[tile.shape[0] // 2, tile.shape[1] // 2]
    assert (drawn == middle).all(axis=-1).any()


def test_a_page_of_the_hits_is_written_with_the_pictures_inside(sheet, tmp_path):
    write_sheet(sheet, tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 4
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as image:
        assert image.width / image.height == pytest.approx(1.5, abs=0.02)
    assert "“a &lt;red&gt; car”" in page
    assert "&lt;0&gt;.png" in page
    assert page.count("picture not shown") == 2
    assert "0.900" in page
    assert "http" not in page.replace("data:", "")


def test_the_picture_searched_with_is_shown(sheet, tmp_path):
    with_query = Sheet(sheet.title, sheet.subtitle, sheet.entries, query=sheet.entries[0].path)
    write_sheet(with_query, tmp_path / "out.html")
    assert (tmp_path / "out.html").read_text().count("data:image/jpeg") == 5
    write_sheet(sheet, tmp_path / "without.png")
    write_sheet(with_query, tmp_path / "with.png")
    with Image.open(tmp_path / "with.png") as with_it, Image.open(tmp_path / "without.png") as without:
        assert with_it.height > without.height


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_nothing_found_is_a_sheet_too(tmp_path, suffix):
    write_sheet(Sheet("“x”", "nothing in y", []), tmp_path / f"out{suffix}")
    assert (tmp_path / f"out{suffix}").stat().st_size > 500


def test_other_suffixes_are_refused(sheet, tmp_path):
    with pytest.raises(ValueError, match=r"written as .png or .html"):
        write_sheet(sheet, tmp_path / "out.gif")


@pytest.mark.parametrize(
    ("count", "columns"), [(0, 3), (1, 3), (3, 3), (4, 4), (5, 5), (6, 3), (7, 4), (8, 4), (9, 3), (10, 5)]
)
def test_few_places_stay_empty(count, columns):
    assert columns_for(count) == columns


def test_thumbnails_fill_their_place_and_are_not_turned():
    image = Image.fromarray(pixels(1, 40, 80))
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        file = io.BytesIO()
        image.save(file, kind, exif=exif)
        small = thumbnail(file.getvalue(), 100, 100)
        assert small.size == (100, 50)


@pytest.mark.parametrize(("width", "height"), [(5000, 3), (3, 5000), (70_000, 1), (1, 1)])
def test_sheets_show_pictures_of_any_shape(tmp_path, width, height):
    path = tmp_path / "long.png"
    path.write_bytes(saved(Image.new("RGB", (width, height), "red")))
    entries = [Entry("long.png", 0.5, path, duplicates=[Entry("long.png", 0.4, path)])]
    for suffix in (".html", ".png"):
        write_sheet(Sheet("title", "subtitle", entries, query=path), tmp_path / f"out{suffix}")
        write_group_sheet(GroupSheet("title", "subtitle", [Row(entries)]), tmp_path / f"groups{suffix}")
    assert (tmp_path / "out.html").read_text().count("data:image/jpeg") == 3
    with Image.open(tmp_path / "out.png") as image:
        assert any(color == (255, 0, 0) for _, color in image.getcolors(1_000_000))


def test_sheets_say_that_pictures_are_shown_as_the_model_sees_them(sheet, tmp_path):
    write_sheet(sheet, tmp_path / "out.html")
    write_group_sheet(GroupSheet("t", "s", [Row(sheet.entries)]), tmp_path / "groups.html")
    for name in ("out.html", "groups.html"):
        assert MODEL_VIEW in (tmp_path / name).read_text()
    assert notes_of([], sheet.entries) == [MODEL_VIEW]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_thumbnails_of_any_mode_are_rgb(mode):
    if mode == "I;16":
        image = Image.fromarray((np.arange(400).reshape(20, 20) * 160).astype(np.uint16))
    else:
        image = Image.fromarray(pixels(1)).convert("L" if mode == "LA" else "RGB").convert(mode)
    small = thumbnail(saved(image, "TIFF" if mode == "CMYK" else "PNG"), 50, 50)
    assert small.mode == "RGB"
    assert max(small.size) == 50


def test_alpha_is_dropped_as_the_server_drops_it():
    half = thumbnail(saved(Image.new("RGBA", (10, 10), (255, 0, 0, 100))), 20, 20)
    assert half.getpixel((5, 5)) == (255, 0, 0)
    none = thumbnail(saved(Image.new("RGBA", (10, 10), (255, 0, 0, 0))), 20, 20)
    assert none.getpixel((5, 5)) == (0, 0, 0)


@pytest.mark.parametrize("source", [b"", b"junk", png(1)[:50], None])
def test_what_is_no_picture_has_no_thumbnail(source):
    assert isinstance(thumbnail(source, 20, 20), NotShown)


@pytest.mark.parametrize("count", [1, 5])
def test_a_long_subtitle_is_drawn_whole(monkeypatch, count):
    written = []
    monkeypatch.setattr(
        drawing, "write", lambda draw, at, text, size, *args, **options: written.append((at, text, options))
    )
    subtitle = (
        "1 best of a_collection · model large · scores are cosines and the share of random pairs with a "
    )
    subtitle += "lower score · nothing here matches well"
    image = sheet_png(Sheet("title", subtitle, [Entry("a.png", 0.1, png(1))] * count))
    lines = [(at[1], text, options["width"]) for at, text, options in written[1:] if 80 < at[1] < 150]
    assert " ".join(text for _, text, _ in lines) == subtitle
    assert len(lines) == (2 if count == 1 else 1)
    assert all(width_of(text, drawing.SUBTITLE_SIZE) <= width for _, text, width in lines)
    assert image.height > 400
