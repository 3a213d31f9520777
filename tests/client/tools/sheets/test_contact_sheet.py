from __future__ import annotations

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from client.pictures import pixels, png, saved
from clipserve import ImageRules
from clipserve.messages.collection_responses import read_collection
from clipserve.messages.responses import read_server_info
from clipserve.tools.sheets import drawing
from clipserve.tools.sheets.contact_sheet import write_sheet
from clipserve.tools.sheets.contact_sheet_png import columns_for, sheet_png
from clipserve.tools.sheets.entries import Entry, Sheet, notes_of
from clipserve.tools.sheets.fonts import width_of
from clipserve.tools.sheets.group_sheet import GroupSheet, Row, write_group_sheet
from clipserve.tools.sheets.thumbnail import ModelView, NotShown, thumbnail, view_of
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from PIL import Image, ImageOps


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
    tile = np.asarray(thumbnail(sheet.entries[0].path, 240, 240, ModelView()))
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
        small = thumbnail(file.getvalue(), 100, 100, ModelView())
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


def test_sheets_say_how_the_model_sees_their_pictures(sheet, tmp_path):
    view = ModelView(ImageRules(True, "#0a3cc8"), "longest")
    write_sheet(dataclasses.replace(sheet, view=view), tmp_path / "out.html")
    write_group_sheet(GroupSheet("t", "s", [Row(sheet.entries)], view), tmp_path / "groups.html")
    for name in ("out.html", "groups.html"):
        text = (tmp_path / name).read_text()
        assert "EXIF orientation applied, transparency shown on #0a3cc8. The model sees the whole" in text
    assert notes_of([], sheet.entries, view) == [view.note]


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (ModelView(), "not applied, transparency dropped. The model sees the square in the middle."),
        (ModelView(square=False), "The model sees the middle."),
        (ModelView(resize="squash"), "The model sees the whole picture, stretched to a square."),
        (ModelView(resize="longest", square=False), "border that makes it the shape of its input."),
        (ModelView(resize="of the future"), "transparency dropped."),
    ],
)
def test_the_note_says_which_part_the_model_sees(view, words):
    assert view.note.endswith(words)


def test_a_view_is_that_of_the_collection_and_its_model():
    model = clip_pb2.ModelInfo(ref={"name": "wide"}, image_height=8, image_width=4, resize="squash")
    info = read_server_info(clip_pb2.GetServerInfoResponse(models=[model]))
    rules = ImageRules(True, "#ffffff")

    def view(name: str) -> ModelView:
        told = common_pb2.ImageRules(apply_orientation=True, alpha_background="#ffffff")
        return view_of(
            read_collection(collection_pb2.Collection(model={"name": name}, image_rules=told)), info
        )

    assert view("wide") == ModelView(rules, "squash", square=False)
    assert view("gone") == ModelView(rules)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_by_their_orientation_if_the_rules_say_so(orientation):
    image, exif = Image.fromarray(pixels(1, 60, 40)), Image.Exif()
    exif[274] = orientation
    content = saved(image, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    turned = thumbnail(content, 50, 30, ModelView(ImageRules(apply_orientation=True)))
    expected = thumbnail(saved(upright), 50, 30, ModelView())
    assert turned.size == expected.size
    assert np.abs(np.asarray(turned).astype(int) - np.asarray(expected)).max() <= 2
    stored = thumbnail(content, 50, 30, ModelView())
    assert stored.tobytes() == thumbnail(saved(image), 50, 30, ModelView()).tobytes()


def test_transparent_pixels_show_the_background_if_the_rules_say_so():
    white = ModelView(ImageRules(alpha_background="#ffffff"))
    none = thumbnail(saved(Image.new("RGBA", (10, 10), (255, 0, 0, 0))), 20, 20, white)
    assert none.getpixel((5, 5)) == (255, 255, 255)
    half = thumbnail(saved(Image.new("RGBA", (10, 10), (255, 0, 0, 102))), 20, 20, white)
    assert half.getpixel((5, 5)) == (255, 153, 153)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_thumbnails_of_any_mode_are_rgb(mode):
    if mode == "I;16":
        image = Image.fromarray((np.arange(400).reshape(20, 20) * 160).astype(np.uint16))
    else:
        image = Image.fromarray(pixels(1)).convert("L" if mode == "LA" else "RGB").convert(mode)
    small = thumbnail(saved(image, "TIFF" if mode == "CMYK" else "PNG"), 50, 50, ModelView())
    assert small.mode == "RGB"
    assert max(small.size) == 50


def test_alpha_is_dropped_without_a_background():
    half = thumbnail(saved(Image.new("RGBA", (10, 10), (255, 0, 0, 100))), 20, 20, ModelView())
    assert half.getpixel((5, 5)) == (255, 0, 0)
    none = thumbnail(saved(Image.new("RGBA", (10, 10), (255, 0, 0, 0))), 20, 20, ModelView())
    assert none.getpixel((5, 5)) == (0, 0, 0)


@pytest.mark.parametrize("source", [b"", b"junk", png(1)[:50], None])
def test_what_is_no_picture_has_no_thumbnail(source):
    assert isinstance(thumbnail(source, 20, 20, ModelView()), NotShown)


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
