"""Local files: only regular files, up to a limit, and none outside of a trusted folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from client.pictures import png
from clipserve import Client, Point, TokenFile
from clipserve.inputs.files import (
    Below,
    FileRefused,
    FileTooLarge,
    open_below,
    open_regular,
    read_regular,
    read_text,
)
from clipserve.tools.indexing.roots import known_root, record_root, state_file
from clipserve.tools.sheets.thumbnail import ModelView, NotShown, thumbnail
from clipserve.transport.channel import Tls

SECONDS = 60
"""Timeout of a command: one that waits for a pipe never ends."""


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    return path


@pytest.fixture
def sparse(tmp_path):
    """A sparse file of 3 GB, which uses no disk space."""
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(3_000_000_000)
    return path


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "root"
    (root / "sea").mkdir(parents=True)
    (root / "sea" / "a.png").write_bytes(png(1))
    (root / "inside.png").symlink_to(root / "sea" / "a.png")
    (root / "near").symlink_to(root / "sea")
    private = tmp_path / "root-private"
    private.mkdir()
    (private / "secret.png").write_bytes(png(2))
    (root / "out.png").symlink_to(private / "secret.png")
    (root / "away").symlink_to(private)
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe.png")
    return root


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/tty", "/", "/proc/self/fd"])
def test_what_is_not_a_regular_file_is_refused(path):
    with pytest.raises(FileRefused) as raised:
        open_regular(path)
    assert raised.value.strerror in ("it is not a regular file", "it is a folder")


def test_a_pipe_is_refused_and_not_waited_for(fifo):
    with pytest.raises(FileRefused, match="not a regular file"):
        read_regular(fifo, 10)


def test_a_file_that_becomes_a_pipe_is_refused(tmp_path, fifo, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"a")
    regular = os.stat(path)
    path.unlink()
    fifo.rename(path)
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    with pytest.raises(FileRefused, match="not a regular file"):
        open_regular(path)


def test_the_size_is_looked_at_before_anything_is_read(sparse):
    with pytest.raises(FileTooLarge) as raised:
        read_regular(sparse, 1000)
    assert raised.value.size == 3_000_000_000


def test_a_file_that_says_it_has_no_bytes_is_read_to_the_limit():
    with pytest.raises(FileTooLarge):
        read_regular("/proc/self/maps", 10)
    assert read_regular("/proc/self/comm", 100)


def test_links_are_followed_where_the_user_names_them(folder):
    assert read_regular(folder / "out.png", 100_000) == png(2)
    assert read_text(__file__).startswith('"""Local files')


@pytest.mark.parametrize(
    "name", ["sea/a.png", "inside.png", "near/a.png", "sea/../sea/a.png", "./sea//a.png"]
)
def test_files_below_a_folder_are_opened(folder, name):
    if ".." in name:
        with pytest.raises(FileRefused):
            open_below(Below(folder, name))
        return
    with open_below(Below(folder, name)) as file:
        assert file.read() == png(1)


@pytest.mark.parametrize(
    "name",
    [
        "out.png",
        "away/secret.png",
        "../root-private/secret.png",
        "sea/../../root-private/secret.png",
        "sea/../sea/a.png",
        "/etc/passwd",
        "/dev/zero",
        "pipe.png",
        "sea",
        "loop",
        "",
        ".",
        "..",
        "a\0b",
        "sea/a.png/b",
    ],
)
def test_what_is_not_a_file_below_the_folder_is_not_opened(folder, name):
    with pytest.raises(OSError, match=r"leads out|regular|is a folder|symbolic links|directory"):
        open_below(Below(folder, name))


def test_a_folder_that_is_swapped_for_a_link_is_never_followed(folder, tmp_path):
    """Another process repeatedly replaces the folder by a link to a private folder."""
    swapper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys\n"
            "root, private = sys.argv[1:]\n"
            "os.chdir(root)\n"
            "os.mkdir('swap'); open('swap/secret.png', 'wb').write(b'mine')\n"
            "os.symlink(private, 'link')\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "    os.rename('swap', 'kept'); os.rename('link', 'swap')\n"
            "    os.rename('swap', 'link'); os.rename('kept', 'swap')\n",
            str(folder),
            str(tmp_path / "root-private"),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        contents = set()
        for _ in range(4_000):
            with contextlib.suppress(OSError), open_below(Below(folder, "swap/secret.png")) as file:
                contents.add(file.read())
    finally:
        swapper.send_signal(signal.SIGKILL)
        swapper.wait()
        swapper.stdout.close()
    assert contents == {b"mine"}


COMMANDS = [
    ("embed", "FILE", "--json"),
    ("classify", "FILE", "--labels", "a,b", "--json"),
    ("search", "--image", "FILE", "-c", "photos", "--json"),
    ("embed", "--texts-file", "FILE", "--json"),
    ("classify", "GOOD", "--labels-file", "FILE", "--json"),
    ("classify", "GOOD", "--labels", "a", "--template", "{}", "--token-file", "FILE"),
    ("info", "--ca", "FILE"),
    ("labels", "put", "birds", "FILE"),
    ("labels", "put", "birds", "LABELS", "--templates", "FILE"),
    ("import", "FILE", "-c", "photos"),
    ("evaluate", "cifar10", "--data", "FILE"),
    ("evaluate", "folder", "--data", "FOLDER", "--names", "FILE"),
    ("evaluate", "imagenet", "--data", "FOLDER", "--ground-truth", "FILE"),
]
DRIVER = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from clipserve.tools.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words, prog_name="clipserve")
    except SystemExit as ended:
        print(f"=== {ended.code}", flush=True)
"""


@pytest.mark.parametrize("kind", ["fifo", "sparse", "/dev/zero"])
def test_no_command_hangs_at_or_swallows_such_a_file(server, request, tmp_path, kind):
    path = kind if kind.startswith("/") else request.getfixturevalue(kind)
    good, classes = tmp_path / "good.png", tmp_path / "classes"
    (classes / "cat").mkdir(parents=True)
    for picture in (good, classes / "cat" / "a.png"):
        picture.write_bytes(png(1))
    with Client(server.address) as client:
        client.create_collection("photos")
    (tmp_path / "labels.txt").write_text("cat")
    places = {
        "LABELS": str(tmp_path / "labels.txt"),
        "FILE": str(path),
        "GOOD": str(good),
        "FOLDER": str(classes),
    }
    commands = [[places.get(word, word) for word in words] for words in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(commands)],
        env=os.environ | {"CLIPSERVE_TARGET": server.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    *told, rest = re.split(r"=== (?=\d)", done.stdout)
    assert len(told) == len(COMMANDS), done.stdout
    assert "Traceback" not in done.stdout
    for words, text, following in zip(COMMANDS, told, [*told[1:], rest], strict=True):
        assert following[0] in "123", (words, text, following)
        if (kind, words[0]) == ("sparse", "import"):
            assert "Parquet" in text, text  # Parquet is read from the end of the file
            continue
        assert "regular file" in text or "at most" in text, (words, text)


def test_index_passes_over_pipes_and_large_files(run, server, photos):
    os.mkfifo(photos / "pipe.png")
    with (photos / "large.png").open("wb") as file:
        file.truncate(3_000_000_000)
    (photos / "zero.png").symlink_to("/dev/zero")
    result = run("index", photos, "-c", "things", code=3)
    assert "5 new" in result.output
    assert "3 failed" in result.output


def test_sdk_files_are_refused_in_the_same_way(fifo, sparse, client):
    result = client.embed_images([fifo, sparse, png(1)], on_error="return")
    assert [type(error).__name__ for error in result.errors.values()] == ["ImageUnreadable", "ImageTooLarge"]
    with pytest.raises(OSError, match="regular file"):
        TokenFile(fifo)()
    with pytest.raises(OSError, match="regular file"):
        Tls(ca=fifo).credentials()


def payloads(folder) -> dict[str, dict[str, str]]:
    """Payloads whose path is not below the indexed folder, or is missing."""
    root, private = str(folder), str(folder.parent / "root-private")
    return {
        "absolute": {"root": root, "path": f"{private}/secret.png"},
        "dots": {"root": root, "path": "../root-private/secret.png"},
        "link": {"root": root, "path": "out.png"},
        "link of a folder": {"root": root, "path": "away/secret.png"},
        "another root": {"root": private, "path": "secret.png"},
        "the whole disk": {"root": "/", "path": f"{private[1:]}/secret.png"},
        "a root with dots": {"root": f"{root}/../root-private", "path": "secret.png"},
        "a pipe": {"root": root, "path": "pipe.png"},
        "a device": {"root": "/dev", "path": "zero"},
        "no root": {"path": f"{private}/secret.png"},
    }


@pytest.mark.parametrize("suffix", [".html", ".png"])
@pytest.mark.parametrize("command", ["search", "like", "dedupe"])
def test_sheets_show_nothing_outside_of_the_indexed_folder(run, server, folder, tmp_path, suffix, command):
    run("index", folder, "-c", "mine", code=3)
    with Client(server.address) as client:
        client.create_collection("things", schema={"root": "string", "path": "string"})
        points = [Point(name, text="a dog", payload=it) for name, it in payloads(folder).items()]
        client.upsert("things", points)
    sheet = tmp_path / f"out{suffix}"
    words = {
        "search": ("search", "a dog", "-c", "things", "-k", "50"),
        "like": ("search", "--like", "dots", "-c", "things", "-k", "50"),
        "dedupe": ("dedupe", "-c", "things"),
    }[command]
    result = run(*words, "--sheet", sheet)
    if suffix == ".html":
        page = sheet.read_text()
        assert "data:image" not in page
        assert "picture not shown: " in page
        assert "href" not in page
    if command == "search":
        assert "pictures are not shown: its folder was not indexed on this machine" in result.stderr


def test_a_sheet_shows_pictures_of_folders_that_were_indexed_here(run, photos, tmp_path, monkeypatch):
    run("index", photos, "-c", "things")
    sheet = tmp_path / "out.html"
    run("search", "a", "-c", "things", "--sheet", sheet)
    assert sheet.read_text().count("data:image") == 5
    # Another machine or user has to name the folder.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert "give --root FOLDER" in run("search", "a", "-c", "things", "--sheet", sheet).stderr
    assert "data:image" not in sheet.read_text()
    run("search", "a", "-c", "things", "--sheet", sheet, "--root", photos)
    assert sheet.read_text().count("data:image") == 5


def test_indexed_folders_are_noted_for_their_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert known_root("/a") is None
    for name in ("/a", "/b", "/a", "/half\udc80"):
        record_root(type(tmp_path)(name))
    assert [str(known_root(name)) for name in ("/a", "/b", "/half?")] == ["/a", "/b", "/half\udc80"]
    assert state_file().stat().st_mode & 0o777 == 0o600
    assert state_file().parent.stat().st_mode & 0o777 == 0o700
    for broken in ("", "{}", "[1, null]", "[" * 100_000, '"a"'):
        state_file().write_text(broken)
        assert known_root("/a") is None
    state_file().write_text(json.dumps(["/a"]))
    assert str(known_root("/a")) == "/a"


def test_a_thumbnail_starts_no_program(tmp_path):
    # Pillow runs Ghostscript for this format.
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    path = tmp_path / "a.png"
    path.write_bytes(eps)
    assert thumbnail(path, 10, 10, ModelView()) == NotShown("it is not a picture, or is broken")
