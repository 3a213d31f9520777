"""Detects a file's kind by its first bytes."""

from __future__ import annotations

import re

HEAD_BYTES = 512
"""Number of bytes that `kind_of` needs."""
DECODABLE = frozenset(("jpeg", "png", "webp", "gif", "bmp", "tiff", "ppm"))
"""Kinds of images that the server decodes."""
CAMERA_RAW = frozenset(
    (
        *("3fr", "arw", "cr2", "cr3", "dcr", "dng", "erf", "fff", "iiq", "k25", "kdc", "mef", "mos", "mrw"),
        *("nef", "nrw", "orf", "pef", "raf", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)
"""Suffixes of camera files. Many are TIFFs whose first image is a thumbnail."""
CONVERTIBLE = frozenset(("heic", "avif", "jxl", "jp2", "bigtiff", "svg", "psd", "ico")) | CAMERA_RAW
"""Kinds of images that other programs can convert to JPEG or PNG."""

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"CR\2\0", "cr2"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "bigtiff"),
    (0, b"IIRO", "orf"),
    (0, b"IIRS", "orf"),
    (0, b"IIU\0", "rw2"),
    (0, b"FUJIFILMCCD-RAW", "raf"),
    (0, b"\xff\x0a", "jxl"),
    (4, b"JXL \r\n\x87\n", "jxl"),
    (4, b"jP  \r\n\x87\n", "jp2"),
    (0, b"\xff\x4f\xff\x51", "jp2"),
    (0, b"8BPS", "psd"),
    (0, b"\0\0\1\0", "ico"),
    (0, b"%PDF-", "pdf"),
    (0, b"%!PS", "ps"),
    (0, b"PK\3\4", "zip"),
    (0, b"\x1f\x8b", "gz"),
)
"""Offset, bytes and kind. The first match decides."""
BRANDS = {
    "avif": (b"avif", b"avis"),
    "heic": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
    "cr3": (b"crx ",),
    "mov": (b"qt  ",),
}
"""Brands of ISO base media files, by kind. Files with other brands are videos."""
BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
"""Sizes of the second header of a BMP, to exclude texts that begin with BM."""
BETWEEN = rb"(?:\s|#[^\n]*\n)"
NUMBER = BETWEEN + rb"+[0-9]+"
PPM = re.compile(
    rb"P(?:(?:1(?:%(n)s){2}|[23](?:%(n)s){3})%(b)s+(?:[0-9#]|\Z)|(?:4(?:%(n)s){2}|[56](?:%(n)s){3})\s)"
    % {b"n": NUMBER, b"b": BETWEEN}
)
"""Width, height and (except in bitmaps) the largest value, to exclude texts that begin with P3."""
SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<![^>]*>\s*)*<svg[\s>]")
PLAIN = re.compile(r"[a-z0-9]{1,8}")


def kind_of(head: bytes, suffix: str = "") -> str:
    """The kind of a file: a kind in DECODABLE, another known kind, or its suffix.

    Args:
        head: the first HEAD_BYTES of the file, or the whole file if it is shorter.
        suffix: of the file's name, without the dot.
    """
    suffix = suffix.lower()
    if not head:
        return "empty"
    kind = content_kind(head)
    if kind == "tiff" and suffix in CAMERA_RAW:
        return suffix
    # Containers whose suffix tells the content: docx, apk, tgz.
    if kind in ("", "zip", "gz") and PLAIN.fullmatch(suffix) and suffix not in DECODABLE:
        return suffix
    return kind or "other"


def content_kind(head: bytes) -> str:
    """The kind by the bytes alone; empty if unknown."""
    for offset, signature, kind in SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": "webp", b"AVI ": "avi", b"WAVE": "wav"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return next((kind for kind, brands in BRANDS.items() if head[8:12] in brands), "mp4")
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return "bmp"
    if PPM.match(head):
        return "ppm"
    return "svg" if SVG.match(head) else ""
