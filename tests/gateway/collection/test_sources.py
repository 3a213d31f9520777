from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
from clipserve_gateway.collection.open_below import open_below
from clipserve_gateway.collection.sources import SourceReader, parse
from clipserve_gateway.errors import ImageTooLarge, InvalidInput
from clipserve_gateway.types import EncodedImage


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a b.jpg").write_bytes(b"picture")
    (folder / "note.txt").write_text("a dög", "utf-8")
    (folder / "latin.txt").write_bytes(b"d\xf6g")
    (folder / "large.jpg").write_bytes(bytes(101))
    secret = tmp_path / "photos-private"
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(secret / "key")
    (folder / "inside.jpg").symlink_to(folder / "a b.jpg")
    return folder


@pytest.fixture
def reader(photos):
    return SourceReader([photos.as_uri()], max_bytes=100)


async def test_pictures_and_texts_under_a_prefix_are_read(reader, photos):
    assert await reader.read(photos.as_uri() + "/a%20b.jpg") == EncodedImage(b"picture")
    assert await reader.read(photos.as_uri() + "/inside.jpg") == EncodedImage(b"picture")
    assert await reader.read(photos.as_uri() + "/note.txt") == "a dög"


async def test_by_default_nothing_is_read(photos):
    uri = (photos / "a b.jpg").as_uri()
    reader = SourceReader([], 100)
    assert not reader.allows(uri)
    assert isinstance(await reader.read(uri), InvalidInput)


@pytest.mark.parametrize(
    "tail",
    [
        "/../photos-private/key",
        "/%2e%2e/photos-private/key",
        "/%2E./photos-private/key",
        "-private/key",
        "/link.jpg",
        "",
    ],
)
async def test_what_leads_out_of_a_prefix_is_refused(reader, photos, tail):
    uri = photos.as_uri() + tail
    assert not reader.allows(uri)
    assert "not under an allowed prefix" in (await reader.read(uri)).message


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "photos/a.jpg",
        "/etc/passwd",
        "file:photos/a.jpg",
        "file://host/photos/a.jpg",
        "http://127.0.0.1/a.jpg",
        "s3://",
        "s3://bucket/a.jpg?endpoint_override=evil.example",
        "s3://user:secret@bucket/a.jpg",
        "s3://bucket:80/a.jpg",
        "s3://bucket/a.jpg#part",
        "file:///photos/a\0.jpg",
        "file:///photos/%00",
        "file:///photos/%ff",
        "file://[broken",
    ],
)
def test_what_is_no_source_uri_is_refused(uri):
    with pytest.raises(InvalidInput) as caught:
        parse(uri)
    assert caught.value.field == "source_uri"


@pytest.mark.parametrize(
    ("prefix", "uri", "allowed"),
    [
        ("s3://bucket/photos", "s3://bucket/photos/1.jpg", True),
        ("s3://bucket/photos/", "s3://bucket/photos/1.jpg", True),
        ("s3://bucket/photos", "s3://bucket/photos2/1.jpg", False),
        ("s3://bucket/photos", "s3://other/photos/1.jpg", False),
        ("s3://bucket/photos", "gs://bucket/photos/1.jpg", False),
        ("s3://bucket/photos", "s3://bucket/photos/../keys/1", False),
        ("s3://bucket", "s3://bucket/1.jpg", True),
    ],
)
def test_prefixes_are_folders(prefix, uri, allowed):
    assert SourceReader([prefix], 1).allows(uri) is allowed


async def test_what_cannot_be_read_is_told(reader, photos):
    assert isinstance(await reader.read(photos.as_uri() + "/large.jpg"), ImageTooLarge)
    assert "UTF-8" in (await reader.read(photos.as_uri() + "/latin.txt")).message
    assert "cannot be read" in (await reader.read(photos.as_uri() + "/missing.jpg")).message


async def test_a_file_without_the_right_to_read_it_is_told(reader, photos):
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    (photos / "a b.jpg").chmod(0)
    assert "cannot be read" in (await reader.read(photos.as_uri() + "/a%20b.jpg")).message


@pytest.mark.parametrize("name", ["pipe.jpg", "folder.jpg", "device.jpg"])
async def test_only_regular_files_are_read(reader, photos, name):
    os.mkfifo(photos / "pipe.jpg")
    (photos / "folder.jpg").mkdir()
    (photos / "device.jpg").symlink_to("/dev/zero")
    source = await reader.read(f"{photos.as_uri()}/{name}")
    assert isinstance(source, InvalidInput)
    assert str(photos) not in source.message


async def test_a_large_file_is_not_read(reader, photos):
    with (photos / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    assert isinstance(await reader.read(photos.as_uri() + "/huge.jpg"), ImageTooLarge)


async def test_errors_do_not_tell_where_files_lie(reader, photos):
    source = await reader.read(photos.as_uri() + "/missing.jpg")
    assert "does not exist" in source.message
    assert str(photos) not in source.message


async def test_a_folder_that_is_swapped_for_a_link_is_never_followed(photos):
    """Another process swaps a folder for a link to a private one all the while."""
    program = (
        "import os, sys\n"
        "os.chdir(sys.argv[1])\n"
        "os.mkdir('swap'); open('swap/key', 'wb').write(b'mine')\n"
        "os.symlink(sys.argv[2], 'link')\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    os.rename('swap', 'kept'); os.rename('link', 'swap')\n"
        "    os.rename('swap', 'link'); os.rename('kept', 'swap')\n"
    )
    private = str(photos.parent / "photos-private")
    swapper = subprocess.Popen([sys.executable, "-c", program, str(photos), private], stdout=subprocess.PIPE)
    try:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        contents = set()
        for _ in range(4_000):
            with contextlib.suppress(OSError), open_below(str(photos), f"{photos}/swap/key") as file:
                contents.add(file.read())
    finally:
        swapper.kill()
        swapper.wait()
        swapper.stdout.close()
    assert contents == {b"mine"}
