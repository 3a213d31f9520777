"""Files are recognized by their content; skipped files are counted by kind."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from client.pictures import pixels, png, saved
from clipserve.tools.file_kinds import DECODABLE, HEAD_BYTES, kind_of
from clipserve.tools.picture_files import PassedOver, find_images
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
OTHERS = {
    "real.heic": (HEIC, "heic"),
    "phone": (HEIC, "heic"),
    "new.hif": (HEIC.replace(b"heic", b"heix"), "heic"),
    "real.avif": (b"\0\0\0\x1cftypavif", "avif"),
    "photo.cr2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(200), "cr2"),
    "unnamed": (b"II*\0\x10\0\0\0CR\2\0" + bytes(200), "cr2"),
    "photo.NEF": (b"MM\0*" + bytes(200), "nef"),
    "photo.dng": (b"II*\0" + bytes(200), "dng"),
    "photo.cr3": (b"\0\0\0\x18ftypcrx ", "cr3"),
    "real.jxl": (b"\xff\x0a" + bytes(200), "jxl"),
    "real.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    "movie.mp4": (b"\0\0\0\x18ftypmp42", "mp4"),
    "movie.MOV": (b"\0\0\0\x14ftypqt  ", "mov"),
    "large.dat": (b"MM\0+" + bytes(200), "bigtiff"),
    "draw.svg": (b"<svg/>", "svg"),
    "drawing": (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="x">', "svg"),
    "page.xml": (b'<?xml version="1.0"?><page/>', "xml"),
    "doc.pdf": (b"%PDF-1.4", "pdf"),
    "text.docx": (b"PK\3\4" + bytes(30), "docx"),
    "archive": (b"PK\3\4" + bytes(30), "zip"),
    "sound.wav": (b"RIFF\0\0\0\0WAVE", "wav"),
    "notes.txt": (b"BMW, P5 100 and GIF89 are words", "txt"),
    "prices": (b"BMW 5 100 90", "other"),
    "plan": (b"P5 is the fifth", "other"),
    "list.txt": (b"P3 12 nice words", "txt"),
    "songs": (b"P3 12 14 16 nice words", "other"),
    "sizes": (b"P6 12 14 nice words", "other"),
    "bits": (b"P1 12 nice words", "other"),
    "comments": (b"P2 # 7 7 7\n12 # 7\n14 words", "other"),
    "Thumbs.db": (b"\xd0\xcf\x11\xe0", "db"),
    "odd.name with spaces": (b"x", "other"),
    "nothing": (b"", "empty"),
}


def picture(i, format):
    return saved(Image.fromarray(pixels(i)), format)


PICTURES = {
    "plain.txt": b"P3 # by hand\n1 # wide\n1\n255\n1 2 3\n",
    "plain bits": b"P1\n2 1\n1 0\n",
    "IMG_1.heic": picture(1, "JPEG"),
    "a.jfif": picture(2, "JPEG"),
    "b.pjpeg": picture(3, "JPEG"),
    "c.mpo": picture(4, "JPEG"),
    "d.JPG_large": picture(5, "JPEG"),
    "e": picture(6, "JPEG"),
    "f.JPG": picture(7, "JPEG"),
    "h.jif": picture(8, "JPEG"),
    "i.thumb": picture(9, "JPEG"),
    "j.apng": picture(10, "PNG"),
    "k.txt": picture(11, "BMP"),
    "l.pnm": picture(12, "PPM"),
    "m.PaM": picture(13, "PPM"),
    "n.tif": picture(14, "TIFF"),
    "o.jpg.bak": picture(15, "GIF"),
    "p.webp": picture(16, "WEBP"),
    "q.bin": picture(17, "WEBP"),
    "r": picture(18, "TIFF"),
}


def fill(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_taken_whatever_its_name(tmp_path, name):
    fill(tmp_path, {name: PICTURES[name]})
    passed_over = PassedOver()
    assert [path.name for path in find_images(tmp_path, passed_over)] == [name]
    assert not passed_over


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_picture_is_counted_by_its_kind(tmp_path, name):
    content, kind = OTHERS[name]
    fill(tmp_path, {name: content})
    passed_over = PassedOver()
    assert list(find_images(tmp_path, passed_over)) == []
    assert passed_over.files == {kind: 1}


def test_names_of_pictures_are_taken_unseen_so_that_they_fail_by_name(tmp_path):
    fill(tmp_path, {"a.JPG": HEIC, "b.tiff": b""})
    assert len(list(find_images(tmp_path))) == 2


def test_hidden_files_links_and_folders_of_systems_are_counted(tmp_path):
    for name in (
        "@eaDir/a.jpg",
        "sea/@eaDir",
        "__MACOSX",
        ".git",
        "$RECYCLE.BIN",
        "System Volume Information",
    ):
        fill(tmp_path / name, {"SYNOPHOTO_THUMB_XL.jpg": png(1)})
    fill(tmp_path, {"._cat.jpg": b"\0\5\x16\7", ".hidden.jpg": png(2), "cat.jpg": png(3)})
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "link.picture").symlink_to(tmp_path / "cat.jpg")
    passed_over = PassedOver()
    assert [path.name for path in find_images(tmp_path, passed_over)] == ["cat.jpg", "link.picture"]
    assert passed_over.facts() == {
        "passed_over": {"hidden": 2, "not a regular file": 1, "broken link": 1},
        "passed_over_folders": {
            "@eaDir": 2,
            "__MACOSX": 1,
            ".git": 1,
            "$RECYCLE.BIN": 1,
            "System Volume Information": 1,
            "links": 1,
        },
    }


def test_kinds_are_told_in_words_the_most_frequent_first():
    passed_over = PassedOver()
    passed_over.files.update({"pdf": 1, "heic": 1_234, "nef": 2})
    passed_over.folders.update({f"f{i:02}": 1 for i in range(22)})
    assert passed_over.words() == (
        f"heic 1,234, nef 2, pdf 1; folders: {', '.join(f'f{i:02} 1' for i in range(20))} and 2 more; "
        "convert heic, nef to JPEG or PNG"
    )


@given(st.binary(max_size=HEAD_BYTES), st.text(max_size=12))
@example(b"\0", "GIF")
def test_any_bytes_and_any_suffix_have_a_kind(head, suffix):
    kind = kind_of(head, suffix)
    assert kind
    assert kind.isprintable()
    assert kind not in DECODABLE or kind == kind_of(head)


@given(st.sampled_from(sorted(PICTURES)), st.text(max_size=5))
def test_the_first_bytes_of_a_picture_suffice_and_its_suffix_does_not_matter(name, suffix):
    assert kind_of(PICTURES[name][:HEAD_BYTES], suffix) in DECODABLE


@pytest.fixture
def mixed(tmp_path):
    """Two images with unusual names, and files of other kinds."""
    files = {name: OTHERS[name][0] for name in ("real.heic", "phone", "doc.pdf")}
    folder = fill(tmp_path / "mixed", files | {name: PICTURES[name] for name in ("a.jfif", "e")})
    fill(folder / "@eaDir", {"a.jpg": png(1)})
    return folder


FACTS = {"passed_over": {"heic": 2, "pdf": 1}, "passed_over_folders": {"@eaDir": 1}}
WORDS = "skipped: heic 2, pdf 1; folders: @eaDir 1; convert heic to JPEG or PNG"


@pytest.mark.parametrize(
    "words", [("index", "-c", "odd"), ("classify", "--labels", "a,b"), ("embed", "--out", "OUT.npy")]
)
def test_commands_take_pictures_of_any_name_and_tell_the_rest(run, answer, mixed, tmp_path, words):
    command, *options = (word.replace("OUT", str(tmp_path / "out")) for word in words)
    facts = answer(command, mixed, *options)
    assert {key: facts[key] for key in FACTS} == FACTS
    assert len(facts.get("results") or facts.get("rows") or range(facts["new"])) == 2
    assert WORDS in run(command, mixed, *options).stderr


@pytest.mark.parametrize(
    "words", [("index", "-c", "odd"), ("classify", "--labels", "a,b"), ("embed", "--out", "out.npy")]
)
def test_a_folder_without_pictures_says_what_it_holds(run, tmp_path, words):
    folder = fill(tmp_path / "none", {"a.heic": HEIC, "b.heic": HEIC})
    command, *options = words
    result = run(command, folder, *options, code=1 if command == "index" else 2)
    assert "no pictures found in" in result.output
    assert "(skipped: heic 2; convert heic to JPEG or PNG)" in result.output


@pytest.mark.parametrize("command", ["classify", "embed"])
def test_folders_that_cannot_be_read_fail_by_name(run, answer, mixed, close_folder, command):
    fill(mixed / "closed", {"a.png": png(1)})
    close_folder(mixed / "closed")
    options = ("--labels", "a,b") if command == "classify" else ()
    document = json.loads(run(command, mixed, *options, "--json", code=3).stdout)
    errors = document.get("errors") or [row["error"] for row in document["results"] if "error" in row]
    assert [error["name"] for error in errors] == [f"{mixed}/closed/"]
    assert errors[0]["message"].startswith("cannot read this folder")


def test_embed_does_not_write_rows_of_nothing(run, answer, tmp_path):
    bad, good, out = tmp_path / "bad.jpg", tmp_path / "good.png", tmp_path / "out.npy"
    bad.write_bytes(HEIC)
    good.write_bytes(png(1))
    out.write_bytes(b"of before")
    result = run("embed", bad, "--out", out, code=3)
    assert "wrote nothing to" in result.stderr
    assert "every input failed" in result.stderr
    assert result.stdout == ""
    assert out.read_bytes() == b"of before"
    assert json.loads(run("embed", bad, "--out", out, "--json", code=3).stdout)["written"] == 0
    result = run("embed", bad, good, "--out", out, code=3)
    dim = np.load(out).shape[1]
    assert f"wrote 1 × {dim} embeddings to {out}; 1 failed, their rows are NaN" in result.stdout
    assert np.isnan(np.load(out)).all(axis=1).tolist() == [True, False]


def test_evaluate_tells_a_class_that_has_no_readable_picture(run, tmp_path):
    fill(tmp_path / "cat", {"a.jfif": PICTURES["a.jfif"], "b.heic": PICTURES["IMG_1.heic"]})
    fill(tmp_path / "dog", {"a.png": png(2)})
    words = ("evaluate", "folder", "--data", tmp_path)
    document = json.loads(run(*words, "--json").stdout)
    assert [(row["class"], row["images"]) for row in document["per_class"]] == [("cat", 2), ("dog", 1)]
    fill(tmp_path / "bird", {"a.heic": HEIC})
    document = json.loads(run(*words, "--json", code=3).stdout)
    assert document["classes_without_pictures"] == ["bird"]
    assert document["passed_over"] == {"heic": 1}
    assert [row["class"] for row in document["per_class"]] == ["bird", "cat", "dog"]
    result = run(*words, "--report", tmp_path / "report.html", code=3)
    assert "Classes without pictures" in (tmp_path / "report.html").read_text()
    assert "read 3 pictures of 2 classes" in result.stderr
    assert "classes without pictures, which remain as labels: bird" in result.stderr
    assert re.search(r"^bird +0 +– +–$", result.stdout, re.MULTILINE)


def test_evaluate_tells_a_class_whose_pictures_all_fail(run, tmp_path):
    fill(tmp_path / "cat", {"a.jpg": HEIC, "b.jpg": b"not a picture"})
    fill(tmp_path / "dog", {"a.png": png(2), "b.jpg": HEIC})
    words = ("evaluate", "folder", "--data", tmp_path)
    assert json.loads(run(*words, "--json", code=3).stdout)["unread_classes"] == ["cat"]
    assert "classes without a readable picture: cat" in run(*words, code=3).stderr
