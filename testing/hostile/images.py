"""Every bad or odd image file, by name, and strangers that are no accepted image at all."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import random
import struct
import zlib

from testing.hostile.cases import ANSWERED, UNREADABLE, UNSUPPORTED, Item
from testing.hostile.files import gif, header, png, riff, rows, saved
from testing.hostile.images_jpeg import JPEGS, plain
from testing.hostile.images_others import BMPS, GIFS, PPMS, WEBPS
from testing.hostile.images_pieces import PIECES
from testing.hostile.images_png import PNGS
from testing.hostile.images_tiff import TIFFS

SOUND = {
    "jpeg": functools.partial(saved, "JPEG"),
    "progressive jpeg": functools.partial(saved, "JPEG", progressive=True),
    "gray jpeg": functools.partial(saved, "JPEG", "L"),
    "cmyk jpeg": functools.partial(saved, "JPEG", "CMYK"),
    "png": functools.partial(saved, "PNG"),
    "png with alpha": functools.partial(saved, "PNG", "RGBA"),
    "png with palette": functools.partial(saved, "PNG", "P"),
    "webp": functools.partial(saved, "WEBP"),
    "lossless webp": functools.partial(saved, "WEBP", lossless=True),
    "gif": functools.partial(saved, "GIF", "P"),
    "bmp": functools.partial(saved, "BMP"),
    "tiff": functools.partial(saved, "TIFF"),
    "compressed tiff": functools.partial(saved, "TIFF", compression="tiff_lzw"),
    "ppm": functools.partial(saved, "PPM"),
}
"""One sound file of each kind that is accepted."""


def cut(name: str, share: float) -> bytes:
    """The beginning of a sound file."""
    whole = SOUND[name]()
    return whole[: max(1, int(len(whole) * share))]


CUTS = [
    Item(f"{name} cut to {share:.0%}", functools.partial(cut, name, share), UNREADABLE)
    for name in SOUND
    for share in (0.001, 0.05, 0.4, 0.8)
]

STRANGERS: list[Item[bytes]] = [
    Item("no bytes", lambda: b"", UNREADABLE),
    Item("one byte", lambda: b"\xff", UNREADABLE),
    Item("a word", lambda: b"hello", UNREADABLE),
    Item("a megabyte of zeros", lambda: bytes(1 << 20), UNREADABLE),
    Item("noise", lambda: random.Random(0).randbytes(4096), UNREADABLE),
    Item(
        "web page",
        lambda: b"<!DOCTYPE html><html><body><img src=x onerror=alert(1)></body></html>",
        UNREADABLE,
    ),
    Item(
        "svg", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", UNSUPPORTED
    ),
    Item("svg after a space", lambda: b" \n<svg xmlns='http://www.w3.org/2000/svg'/>", UNREADABLE),
    Item(
        "xml of entities in entities",
        lambda: b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><x>&b;</x>",
        UNSUPPORTED,
    ),
    Item("json", lambda: json.dumps({"image": "x" * 100}).encode(), UNREADABLE),
    Item(
        "windows program",
        lambda: b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(200),
        UNREADABLE,
    ),
    Item("linux program", lambda: b"\x7fELF\2\1\1" + bytes(200), UNREADABLE),
    Item("shell script", lambda: b"#!/bin/sh\nrm -rf /\n", UNREADABLE),
    Item("postscript", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nquit\n", UNREADABLE),
    Item("pdf", lambda: b"%PDF-1.7\n" + bytes(100), UNSUPPORTED),
    Item("zip archive", lambda: b"PK\x05\x06" + bytes(18), UNREADABLE),
    Item("gzip of a sound file", lambda: gzip.compress(saved("PNG"), mtime=0), UNREADABLE),
    Item("zlib bomb", lambda: zlib.compress(bytes(50_000_000), 9), UNREADABLE),
    Item("base64 of a sound file", lambda: base64.b64encode(saved("PNG")), UNREADABLE),
    Item("data uri", lambda: b"data:image/png;base64," + base64.b64encode(saved("PNG")), UNREADABLE),
    Item("file uri", lambda: b"file:///etc/passwd", UNREADABLE),
    Item("web address", lambda: b"http://127.0.0.1/latest/meta-data", UNREADABLE),
    Item("sound file as utf-16", lambda: saved("PNG").decode("latin-1").encode("utf-16"), UNREADABLE),
    Item("heic", lambda: b"\0\0\0\x18ftypheic" + bytes(100), UNSUPPORTED),
    Item("avif", lambda: b"\0\0\0\x1cftypavif" + bytes(100), UNSUPPORTED),
    Item("jpeg 2000", lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), UNSUPPORTED),
    Item("jpeg xl", lambda: b"\xff\x0a" + bytes(100), UNSUPPORTED),
    Item(
        "icon of a png",
        lambda: struct.pack("<HHHBBBBHHII", 0, 1, 1, 48, 40, 0, 0, 1, 32, 999, 22) + saved("PNG"),
        UNSUPPORTED,
    ),
    Item("photoshop", lambda: b"8BPS\0\1" + bytes(100), UNSUPPORTED),
    Item("wave sound", lambda: b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt " + bytes(90), UNREADABLE),
    Item("mp4 video", lambda: b"\0\0\0\x18ftypisom" + bytes(100), UNREADABLE),
    Item("tga", lambda: saved("TGA"), UNREADABLE),
    Item("pcx", lambda: saved("PCX"), UNREADABLE),
    Item("dds", lambda: saved("DDS"), UNREADABLE),
    Item("png mark before a jpeg", lambda: b"\x89PNG\r\n\x1a\n" + plain(), UNREADABLE),
    Item("jpeg mark before a png", lambda: b"\xff\xd8\xff" + saved("PNG"), UNREADABLE),
    Item("gif mark before a webp", lambda: gif(48, 40) + saved("WEBP"), UNREADABLE),
    Item("webp mark before a jpeg", lambda: riff((b"VP8 ", plain())), UNREADABLE),
    Item("png that is a pdf as well", lambda: png(header(8, 8), rows()) + b"%PDF-1.7\n%%EOF", ANSWERED),
    Item(
        "gif that is a zip archive as well", lambda: saved("GIF", "P") + b"PK\x05\x06" + bytes(18), ANSWERED
    ),
    Item("bmp that is a script as well", lambda: saved("BMP") + b"*/=0;alert(1)//", ANSWERED),
]

IMAGES: list[Item[bytes]] = [*CUTS, *STRANGERS, *JPEGS, *PNGS, *WEBPS, *GIFS, *TIFFS, *BMPS, *PPMS, *PIECES]
"""All of them; the field at fault is always the file itself."""
