"""GIF and WebP files: how many blocks they are made of."""

from __future__ import annotations

from clipserve_gateway.inputs.image_pieces import MAX_PIECES, too_many_pieces

GIF = (b"GIF87a", b"GIF89a")
MAX_CHUNKS = 50_000
"""Of a WebP; its decoder makes a list of them all at the start, which takes 0.1 µs for each."""
EXTENSION, GRAPHICS = 0x21, b"\xf9"
PICTURE_OR_END = b",;"


def is_webp(content: bytes) -> bool:
    """Whether it begins like a WebP."""
    return content.startswith(b"RIFF") and content.startswith(b"WEBP", 8)


def check_webp(webp: bytes) -> None:
    """ImageUnreadable for a WebP of too many chunks."""
    position = 12
    for _ in range(MAX_CHUNKS):
        if position >= len(webp):
            return
        length = int.from_bytes(webp[position + 4 : position + 8], "little")
        position += 8 + length + length % 2
    raise too_many_pieces()


def essential_gif(gif: bytes) -> bytes:
    """A GIF without extensions before its first picture, but for those about transparency.

    ImageUnreadable for too many blocks before it. What is no block is left out, as Pillow skips it.
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
