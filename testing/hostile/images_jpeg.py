"""JPEG files that are not what they say."""

from __future__ import annotations

import struct

from testing.hostile.cases import ANSWERED, TOO_LARGE, UNREADABLE, Item
from testing.hostile.files import frame, patched, saved, segment, segments, tiff, with_segment

PLAIN = {"quality": 90, "subsampling": 0}
SOF, DHT, DQT, SOS, DRI = 0xC0, 0xC4, 0xDB, 0xDA, 0xDD


def plain() -> bytes:
    """A sound baseline JPEG of 48 × 40."""
    return saved("JPEG", **PLAIN)


def progressive() -> bytes:
    """A sound progressive one."""
    return saved("JPEG", progressive=True, **PLAIN)


def framed(
    height: int = 40, width: int = 48, *, precision: int = 8, parts: int = 3, marker: int = SOF
) -> bytes:
    """The plain one under a frame header that says something else."""
    listed = b"".join(bytes([i + 1, 0x11, min(i, 1)]) for i in range(parts))
    return with_segment(
        plain(), SOF, segment(marker, struct.pack(">BHHB", precision, height, width, parts) + listed)
    )


def sampled(*factors: int) -> bytes:
    """The plain one with other sampling factors for its three components."""
    data = frame(plain())
    for i, factor in enumerate(factors):
        data = patched(data, 11 + 3 * i, bytes([factor]))
    return with_segment(plain(), SOF, data)


def inserted(*parts: bytes) -> bytes:
    """The plain one with these segments after its start."""
    return plain()[:2] + b"".join(parts) + plain()[2:]


def scan(content: bytes) -> bytes:
    """The last scan, without the end marker."""
    return content[content.rfind(b"\xff\xda") : -2]


def scan_header(*data: int) -> bytes:
    """The plain one with another header of its scan."""
    *before, pixels = segments(plain())
    length = int.from_bytes(pixels[2:4], "big")
    return b"".join([*before, segment(SOS, bytes(data)), pixels[2 + length :]])


def pixels(data: bytes) -> bytes:
    """The plain one with these bytes for all of its pixels."""
    *before, old = segments(plain())
    return b"".join([*before, old[: 2 + int.from_bytes(old[2:4], "big")], data, b"\xff\xd9"])


def loop() -> bytes:
    """EXIF whose directory leads to itself."""
    return b"Exif\0\0" + tiff({34665: (4, 1, 8), 34853: (4, 1, 8)}, following=8)


def cmyk(*, transform: int | None) -> bytes:
    """Four colors, with another Adobe marker or none."""
    content = saved("JPEG", "CMYK")
    if transform is None:
        return with_segment(content, 0xEE)
    return with_segment(content, 0xEE, segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform])))


JPEGS: list[Item[bytes]] = [
    Item("jpeg start alone", lambda: b"\xff\xd8\xff", UNREADABLE),
    Item("jpeg start and end alone", lambda: b"\xff\xd8\xff\xd9", UNREADABLE),
    Item("jpeg without end", lambda: plain()[:-2], UNREADABLE),
    Item("jpeg without frame", lambda: with_segment(plain(), SOF), UNREADABLE),
    Item("jpeg two frames", lambda: inserted(frame(plain())), UNREADABLE),
    Item("jpeg without quantization", lambda: with_segment(with_segment(plain(), DQT), DQT), UNREADABLE),
    Item(
        "jpeg without huffman tables", lambda: b"".join(p for p in segments(plain()) if p[1] != DHT), ANSWERED
    ),
    Item("jpeg without scan", lambda: b"".join(segments(plain())[:-1]) + b"\xff\xd9", UNREADABLE),
    Item("jpeg height 0", lambda: framed(height=0), UNREADABLE),
    Item("jpeg width 0", lambda: framed(width=0), UNREADABLE),
    Item("jpeg 65535 square", lambda: framed(65535, 65535), TOO_LARGE),
    Item("jpeg 65500 square, progressive", lambda: framed(65500, 65500, marker=0xC2), TOO_LARGE),
    Item("jpeg taller than its data", lambda: framed(height=8000), ANSWERED),
    Item("jpeg of 12 bits", lambda: framed(precision=12), UNREADABLE),
    Item("jpeg of 16 bits", lambda: framed(precision=16), UNREADABLE),
    Item("jpeg of 0 bits", lambda: framed(precision=0), UNREADABLE),
    Item("jpeg of 0 components", lambda: framed(parts=0), UNREADABLE),
    Item("jpeg of 2 components", lambda: framed(parts=2), UNREADABLE),
    Item("jpeg of 5 components", lambda: framed(parts=5), UNREADABLE),
    Item("jpeg of 255 components", lambda: framed(parts=255), UNREADABLE),
    Item("jpeg one component of three", lambda: framed(parts=1), UNREADABLE),
    Item("jpeg sampling 0", lambda: sampled(0, 0x11, 0x11), UNREADABLE),
    Item("jpeg sampling 15", lambda: sampled(0xFF, 0x11, 0x11), UNREADABLE),
    Item("jpeg sampling 4 × 4", lambda: sampled(0x44, 0x11, 0x11), UNREADABLE),
    Item("jpeg sampling 3 × 1", lambda: sampled(0x31, 0x11, 0x11), ANSWERED),
    Item("jpeg color sampled finer than brightness", lambda: sampled(0x11, 0x22, 0x22), ANSWERED),
    Item("jpeg lossless", lambda: framed(marker=0xC3), UNREADABLE),
    Item("jpeg hierarchical", lambda: framed(marker=0xC5), UNREADABLE),
    Item("jpeg arithmetic coding", lambda: framed(marker=0xC9), ANSWERED),
    Item("jpeg arithmetic progressive", lambda: framed(marker=0xCA), UNREADABLE),
    Item("jpeg arithmetic lossless", lambda: framed(marker=0xCB), UNREADABLE),
    Item(
        "jpeg huffman counts over 256",
        lambda: inserted(segment(DHT, b"\0" + b"\xff" * 16 + bytes(300))),
        UNREADABLE,
    ),
    Item(
        "jpeg huffman codes oversubscribed",
        lambda: with_segment(plain(), DHT, segment(DHT, b"\0\3" + bytes(15) + b"abc")),
        UNREADABLE,
    ),
    Item("jpeg huffman table 7", lambda: inserted(segment(DHT, b"\7\1" + bytes(15) + b"a")), UNREADABLE),
    Item("jpeg huffman table cut", lambda: inserted(segment(DHT, b"\0\1\1")), UNREADABLE),
    Item("jpeg huffman table empty", lambda: with_segment(plain(), DHT, segment(DHT, bytes(17))), ANSWERED),
    Item("jpeg quantization table 9", lambda: inserted(segment(DQT, b"\x09" + bytes(64))), UNREADABLE),
    Item("jpeg quantization table cut", lambda: inserted(segment(DQT, b"\0" + bytes(10))), UNREADABLE),
    Item("jpeg quantization of zeros", lambda: with_segment(plain(), DQT, segment(DQT, bytes(65))), ANSWERED),
    Item("jpeg restart interval 1, none there", lambda: inserted(segment(DRI, b"\0\1")), ANSWERED),
    Item("jpeg restart interval cut", lambda: inserted(segment(DRI, b"\0")), UNREADABLE),
    Item("jpeg scan of 0 components", lambda: scan_header(0, 0, 63, 0), UNREADABLE),
    Item("jpeg scan of an unknown component", lambda: scan_header(1, 77, 0, 0, 63, 0), UNREADABLE),
    Item("jpeg scan of one component thrice", lambda: scan_header(3, 1, 0, 1, 0, 1, 0, 0, 63, 0), UNREADABLE),
    Item(
        "jpeg scan by tables that are not there",
        lambda: scan_header(3, 1, 0x33, 2, 0x33, 3, 0x33, 0, 63, 0),
        UNREADABLE,
    ),
    Item(
        "jpeg progressive scan in the wrong order",
        lambda: with_segment(progressive(), 0xC2, patched(frame(progressive()), 4, b"\x08")).replace(
            b"\0\0\1", b"\x3f\0\x77"
        ),
        UNREADABLE,
    ),
    Item("jpeg pixels of zeros", lambda: pixels(bytes(500)), ANSWERED),
    Item("jpeg pixels of ones", lambda: pixels(b"\xff\0" * 500), ANSWERED),
    Item("jpeg pixels of restart markers", lambda: pixels(b"\xff\xd0\xff\xd7" * 200), ANSWERED),
    Item("jpeg no pixels", lambda: pixels(b""), ANSWERED),
    Item(
        "jpeg thousands of scans",
        lambda: progressive()[:-2] + scan(progressive()) * 3_000 + b"\xff\xd9",
        UNREADABLE,
    ),
    Item(
        "jpeg a million segments", lambda: b"\xff\xd8" + b"\xff\xe5\0\2" * 1_000_000 + plain()[2:], UNREADABLE
    ),
    Item("jpeg segment of length 0", lambda: inserted(segment(0xE5, length=0)), ANSWERED),
    Item("jpeg segment of length 1", lambda: inserted(segment(0xDD, length=1)), UNREADABLE),
    Item("jpeg segment longer than the file", lambda: inserted(segment(0xE5, length=65535)), UNREADABLE),
    Item(
        "jpeg quantization longer than the file",
        lambda: inserted(segment(DQT, b"\0", length=65535)),
        UNREADABLE,
    ),
    Item("jpeg fill bytes", lambda: plain()[:2] + b"\xff" * 5000 + plain()[2:], ANSWERED),
    Item("jpeg zeros between segments", lambda: inserted(bytes(5000)), UNREADABLE),
    Item("jpeg exif garbage", lambda: inserted(segment(0xE1, b"Exif\0\0" + b"\xff" * 200)), ANSWERED),
    Item("jpeg exif loop", lambda: inserted(segment(0xE1, loop())), ANSWERED),
    Item(
        "jpeg exif of 5000 tags in the same bytes",
        lambda: inserted(
            segment(0xE1, b"Exif\0\0" + tiff({40_000 + i: (7, 60_000, 8) for i in range(5_000)}))
        ),
        ANSWERED,
    ),
    Item(
        "jpeg exif orientation 99",
        lambda: inserted(segment(0xE1, b"Exif\0\0" + tiff({274: (3, 1, 99)}))),
        ANSWERED,
    ),
    Item(
        "jpeg profile garbage",
        lambda: inserted(segment(0xE2, b"ICC_PROFILE\0\1\1" + b"\xff" * 200)),
        ANSWERED,
    ),
    Item("jpeg profile part 9 of 3", lambda: inserted(segment(0xE2, b"ICC_PROFILE\0\x09\3abc")), ANSWERED),
    Item("jpeg profile part 0 of 0", lambda: inserted(segment(0xE2, b"ICC_PROFILE\0\0\0abc")), ANSWERED),
    Item(
        "jpeg index of pictures garbage",
        lambda: inserted(segment(0xE2, b"MPF\0" + b"II*\0" + b"\xff" * 50)),
        ANSWERED,
    ),
    Item(
        "jpeg photoshop garbage",
        lambda: inserted(segment(0xED, b"Photoshop 3.0\x008BIM" + b"\xff" * 50)),
        ANSWERED,
    ),
    Item("jpeg comment of 64 KiB", lambda: inserted(segment(0xFE, b"\xff\xda" * 32_000)), ANSWERED),
    Item("jpeg jfif of 3 bytes", lambda: with_segment(plain(), 0xE0, segment(0xE0, b"JFI")), ANSWERED),
    Item(
        "jpeg jfif density 0",
        lambda: with_segment(plain(), 0xE0, segment(0xE0, b"JFIF\0\1\1\1" + bytes(6))),
        ANSWERED,
    ),
    Item("jpeg adobe marker cut", lambda: inserted(segment(0xEE, b"Adobe\0")), UNREADABLE),
    Item("jpeg adobe transform 9", lambda: inserted(segment(0xEE, b"Adobe\0\x64\0\0\0\0\x09")), ANSWERED),
    Item("jpeg four colors without adobe marker", lambda: cmyk(transform=None), ANSWERED),
    Item("jpeg four colors, transform 1", lambda: cmyk(transform=1), ANSWERED),
    Item("jpeg four colors, transform 2", lambda: cmyk(transform=2), ANSWERED),
    Item("jpeg four colors, transform 200", lambda: cmyk(transform=200), ANSWERED),
    Item("jpeg two pictures", lambda: plain() + plain(), ANSWERED),
    Item("jpeg start in start", lambda: plain()[:2] + plain(), ANSWERED),
    Item("jpeg junk before", lambda: b"junk" + plain(), UNREADABLE),
    Item(
        "jpeg and a zip archive",
        lambda: plain() + b"PK\x03\x04" + bytes(200) + b"PK\x05\x06" + bytes(18),
        ANSWERED,
    ),
    Item(
        "jpeg and a script in its comment",
        lambda: inserted(segment(0xFE, b"*/=alert(1)/*<script>")),
        ANSWERED,
    ),
]
