"""Letters on drawn sheets: each from a font that has it, or said to be unknown."""

from __future__ import annotations

import shutil

import pytest
from clipserve.tools.sheets import fonts
from clipserve.tools.sheets.contact_sheet import write_sheet
from clipserve.tools.sheets.drawing import fitted, write
from clipserve.tools.sheets.entries import Entry, Sheet, notes_of
from clipserve.tools.sheets.fonts import FontFile, has_unknown, listed_fonts, read_ranges, runs, width_of
from clipserve.tools.sheets.thumbnail import ModelView
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

CAT = "猫"


@pytest.fixture
def fresh():
    """Nothing remembered of the system's fonts, before and after."""
    caches = (fonts.system_fonts, fonts.file_for, fonts.loaded)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def box(left: int, right: int):
    pen = TTGlyphPen(None)
    pen.moveTo((left, 0))
    for corner in ((left, 700), (right, 700), (right, 0)):
        pen.lineTo(corner)
    pen.closePath()
    return pen.glyph()


@pytest.fixture
def cat_font(tmp_path, fresh, monkeypatch):
    """The system's only font has one letter, a full block."""
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord(CAT): "cat"})
    builder.setupGlyf({".notdef": box(0, 100), "cat": box(0, 1000)})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Cat", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path / "cat.ttf"
    builder.save(path)
    monkeypatch.setattr(fonts, "system_fonts", lambda: (FontFile("missing.ttf"), FontFile(str(path))))
    return path


@pytest.fixture
def no_fonts(fresh, monkeypatch):
    """The system has no fonts."""
    monkeypatch.setattr(fonts, "system_fonts", tuple)


def drawn(text):
    image = Image.new("L", (200, 60), 255)
    write(ImageDraw.Draw(image), (10, 50), text, 40, 0)
    return image


def test_letters_come_from_a_font_that_has_them(cat_font):
    pieces = runs(f"a{CAT}b", 40)
    assert [piece for _, piece in pieces] == ["a", CAT, "b"]
    assert pieces[0][0] is pieces[2][0]
    assert pieces[1][0].path == str(cat_font)
    assert width_of(CAT, 40) == pytest.approx(40)
    dark = sum(value < 50 for value in drawn(CAT).tobytes())
    assert dark == pytest.approx(40 * 28, rel=0.05)
    assert not has_unknown(f"a{CAT}b")


def test_what_no_font_has_is_a_question_mark_and_said(no_fonts, tmp_path):
    assert [piece for _, piece in runs(f"a{CAT}b", 40)] == ["a?b"]
    assert drawn(CAT).tobytes() == drawn("?").tobytes()
    entries = [Entry(f"{CAT}.jpg", 0.5, None)]
    assert notes_of(["title"], entries, ModelView())[1:] == [fonts.UNKNOWN_NOTE]
    assert notes_of([CAT], [], ModelView())[1:] == [fonts.UNKNOWN_NOTE]
    assert notes_of(["title"], [Entry("cat’s.jpg", 0.5, None)], ModelView())[1:] == []
    write_sheet(Sheet("title", "", entries), tmp_path / "unknown.png")
    write_sheet(Sheet("title", "", [Entry("cat.jpg", 0.5, None)]), tmp_path / "known.png")
    with Image.open(tmp_path / "unknown.png") as more, Image.open(tmp_path / "known.png") as less:
        assert more.height > less.height


def test_marks_and_spaces_stay_with_their_letter(cat_font):
    assert [piece for _, piece in runs(f"{CAT}\u0301 {CAT}", 20)] == [f"{CAT}\u0301 {CAT}"]
    assert not has_unknown("\u200d \u0301\ufe0f")


@pytest.mark.skipif(not shutil.which("fc-list"), reason="fontconfig is not on this machine")
def test_fontconfig_tells_which_letters_its_fonts_have():
    listed = list(listed_fonts())
    assert listed
    assert all(font.letters for font in listed)
    assert any(font.may_have("a") for font in listed)
    assert not any(font.may_have(fonts.NO_LETTER) for font in listed)


def test_without_fontconfig_nothing_is_listed(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert list(listed_fonts()) == []


def test_ranges_of_letters_are_read():
    assert read_ranges("20-22 a9 4e00-4e01") == (range(0x20, 0x23), range(0xA9, 0xAA), range(0x4E00, 0x4E02))
    assert read_ranges("") == ()


@given(st.text(max_size=40), st.integers(0, 300))
@settings(max_examples=20)
def test_fitted_texts_fit(text, width):
    cut = fitted(text, width, 14)
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))
    assert width_of(cut, 14) <= max(width, width_of("…", 14), width_of(text[:1] + "…", 14))
