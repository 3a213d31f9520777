"""Pictures and texts as JSON strings: data URIs, base64, and what only looks like one of them."""

from __future__ import annotations

import re

from clipserve_gateway.convert.common import check_text
from clipserve_gateway.errors import ImageFormatUnsupported, ImageUnreadable, InvalidInput
from clipserve_gateway.http_adapter.json_values import decode_base64
from clipserve_gateway.types import Limits

URL = re.compile(r"(?:https?|ftp|file|s3|gs)://\S+", re.IGNORECASE)
DATA_URI = re.compile(r"data:[\w.+-]{0,127}/?[\w.+-]{0,127}[;,]", re.IGNORECASE)
BASE64 = re.compile(r"(?:/9j/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/]{60}")
"""How base64 of JPEG, PNG, GIF and WebP begins."""
PICTURE_INSIDE = re.compile(r"data:image/[\w.+-]{1,40};base64,[A-Za-z0-9+/]{60}")
PATH = re.compile(
    r"(?:~|\.{1,2})/\S+|/[^\s/]+/\S*|[a-z]:[\\/]\S+"
    r"|[^\n]+\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|heif|avif|jp2|svg)",
    re.IGNORECASE,
)
"""A path with a root, and the name of a picture file. The server does not look for the file."""
LOOKED_AT = 4096
"""Characters of a string that decide what it is."""
MAX_HEADER = 200
"""Most characters of a data URI before its comma."""

NO_FETCHING = "this server fetches nothing from URLs; send the picture itself as data:image/jpeg;base64,…"
NO_FILES = "this server reads no files; send the picture itself as data:image/jpeg;base64,…"
AS_WORDS = 'send {"text": …} to embed it as words'


def is_data_uri(text: str) -> bool:
    """Whether the string begins as a data URI."""
    return DATA_URI.match(text[:LOOKED_AT].lstrip()) is not None


def is_url(text: str) -> bool:
    """Whether the whole string is one URL."""
    return len(text) <= LOOKED_AT and URL.fullmatch(text.strip()) is not None


def is_path(text: str) -> bool:
    """Whether the whole string looks like the path of a file."""
    return len(text) <= LOOKED_AT and PATH.fullmatch(text.strip()) is not None


def check_words(text: str, limits: Limits, field: str) -> None:
    """Raises InvalidInput for a string that is meant as a picture: a URL, base64, a text with a data URI.

    Raises LimitExceeded for one that is too long as a text, before it is searched: no other thread runs then.
    The embedding of these characters as words would be of no use, and nobody would notice.
    """
    if is_url(text):
        raise InvalidInput(f"the string is a URL: {NO_FETCHING}, or {AS_WORDS}", field=field)
    if BASE64.match(text[:LOOKED_AT].lstrip()):
        raise InvalidInput(
            "the string looks like a picture in base64: write data:image/jpeg;base64, before it, or "
            f"{AS_WORDS}",
            field=field,
        )
    check_text(text, limits, field)
    if ";base64," in text and PICTURE_INSIDE.search(text):
        raise InvalidInput(
            "the string has words and a picture: the model embeds each of them alone, so send them as two "
            f"inputs, or {AS_WORDS}",
            field=field,
        )


def bytes_of_uri(uri: str, field: str) -> bytes:
    """The bytes of a picture's data URI. Raises InvalidInput for any other URI."""
    uri = uri.strip()
    if not DATA_URI.match(uri):
        why = "this is not a data URI; write data:image/jpeg;base64,…"
        if URL.match(uri):
            why = NO_FETCHING
        elif is_path(uri):
            why = f"this is the path of a file: {NO_FILES}"
        raise InvalidInput(why, field=field)
    header, comma, _ = uri[:MAX_HEADER].partition(",")
    if not comma:
        raise ImageUnreadable("the data URI has no comma before its data", field=field)
    media, *parameters = header[len("data:") :].lower().split(";")
    if not media.startswith("image/"):
        raise ImageFormatUnsupported(
            f"the data URI has the type {media or 'text/plain'}; pictures have image/jpeg, image/png and "
            f"others. If it is a text, {AS_WORDS}",
            field=field,
        )
    if not parameters or parameters[-1].strip() != "base64":
        raise ImageUnreadable("the data URI is not in base64; write data:image/jpeg;base64,…", field=field)
    return bytes_of_base64(uri[len(header) + 1 :], field)


def bytes_of_base64(data: str, field: str) -> bytes:
    """The decoded bytes; either alphabet, with padding or without. Raises ImageUnreadable."""
    try:
        content = decode_base64(data)
    except ValueError:
        why = "the picture is not base64; encode it in one line, e.g. by `base64 -w0`"
        if is_path(data):
            why = f"this is the path of a file, not base64: {NO_FILES}"
        raise ImageUnreadable(why, field=field) from None
    if not content:
        raise ImageUnreadable("the picture is empty", field=field)
    return content
