"""Checks GIF and WebP files: how many blocks they have."""

from __future__ import annotations

from clipserve_gateway.inputs.image_pieces import MAX_PIECES, too_many_pieces

GIF = (b"GIF87a", b"GIF89a")
MAX_CHUNKS = 50_000
"""Most chunks of a WebP. Its decoder first lists them all, which takes 0.1 µs for each."""
EXTENSION, GRAPHICS = 0x21, b"\xf9"
PICTURE_OR_END = b",;"


def is_webp(content: bytes) -> bool:
    """Whether the content begins like a WebP."""
    return content.startswith(b"RIFF") and content.startswith(b"WEBP", 8)


def check_webp(webp: bytes) -> None:
    """Raises ImageUnreadable for a WebP with too many chunks."""
    position = 12
    for _ in range(MAX_CHUNKS):
        if position >= len(webp):
            return
        length = int.from_bytes(webp[position + 4 : position + 8], "little")
        position += 8 + length + length % 2
    raise too_many_pieces()


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
