"""Checks GIF and WebP files: how many blocks they have."""

from __future__ import annotations

from collections.abc import Iterator

from clipserve_gateway.inputs.image_pieces import MAX_PIECES, too_many_pieces

GIF = (b"GIF87a", b"GIF89a")
MAX_CHUNKS = 50_000
"""Most chunks of a WebP. Its decoder first lists them all, which takes 0.1 µs for each."""
EXIF_FLAG = 0x08
"""Bit of a WebP's header: it has a chunk with EXIF data."""
EXTENSION, GRAPHICS = 0x21, b"\xf9"
PICTURE_OR_END = b",;"


def is_webp(content: bytes) -> bool:
    """Whether the content begins like a WebP."""
    return content.startswith(b"RIFF") and content.startswith(b"WEBP", 8)


def check_webp(webp: bytes) -> None:
    """Raises ImageUnreadable for a WebP with too many chunks."""
    for number, _ in enumerate(webp_chunks(webp)):
        if number >= MAX_CHUNKS:
            raise too_many_pieces()


def webp_exif(webp: bytes) -> bytes:
    """The first EXIF data, if the header announces it; else empty."""
    if webp[12:16] != b"VP8X" or not webp[20:21] or not webp[20] & EXIF_FLAG:
        return b""
    return next((webp[start:end] for kind, start, end in webp_chunks(webp) if kind == b"EXIF"), b"")


def webp_chunks(webp: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk, and where its data begins and ends."""
    position = 12
    while position < len(webp):
        start = position + 8
        end = start + int.from_bytes(webp[position + 4 : start], "little")
        yield webp[position : position + 4], start, end
        position = end + (end - start) % 2


def essential_gif(gif: bytes) -> bytes:
    """A GIF without the extensions before its first image, except those about transparency.

    Also removes bytes that are not a block, which Pillow skips. Raises ImageUnreadable for too many blocks.
    """
    flags = gif[10] if len(gif) > 12 else 0
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    kept, left = [gif[:position]], MAX_PIECES
    while position < len(gif) and gif[position] not in PICTURE_OR_END:
        left -= 1
        begin, position = position, position + 1
        if gif[begin] == EXTENSION:
            position += 1
            while position < len(gif) and gif[position]:
                position += 1 + gif[position]
                left -= 1
                if left < 0:
                    raise too_many_pieces()
            position += 1
            if gif[begin + 1 : begin + 2] == GRAPHICS:
                kept.append(gif[begin:position])
        if left < 0:
            raise too_many_pieces()
    return b"".join([*kept, gif[position:]])
