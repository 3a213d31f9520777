"""Bad input against the real service: named, alone, and without consequence."""

from __future__ import annotations

import io
import urllib.request

import clipserve
import numpy as np
import pytest
from PIL import Image

from testing.service import ROOT

CAT = (ROOT / "demo" / "photos" / "cat.jpg").read_bytes()


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def variants() -> dict[str, bytes]:
    """One photograph in every shape that is accepted."""
    photo = Image.open(io.BytesIO(CAT))
    small = photo.resize((120, 90))
    exif = Image.Exif()
    exif[0x0112] = 6
    gray16 = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    return {
        "one pixel": encoded(photo.resize((1, 1)), "PNG"),
        "cmyk": encoded(photo.convert("CMYK"), "JPEG"),
        "16 bit": encoded(gray16, "PNG"),
        "palette": encoded(photo.convert("P"), "PNG"),
        "alpha": encoded(photo.convert("RGBA"), "PNG"),
        "animated": encoded(small, "GIF", save_all=True, append_images=[small.rotate(90)] * 3),
        "exif": encoded(photo.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif),
        "webp": encoded(photo, "WEBP"),
        "bmp": encoded(photo, "BMP"),
        "tiff": encoded(photo, "TIFF"),
        "gray": encoded(photo.convert("L"), "JPEG"),
    }


@pytest.mark.parametrize("name", list(variants()))
def test_every_kind_of_image_is_embedded(client, name):
    found = client.embed_images([variants()[name], CAT])
    assert np.isfinite(found.embeddings).all()
    if name in ("alpha", "webp", "bmp", "tiff", "exif", "cmyk"):
        assert float(found.embeddings[0] @ found.embeddings[1]) > 0.95


def test_an_opened_image_with_orientation_and_alpha_is_embedded_like_its_file(client):
    photo, exif = Image.open(io.BytesIO(CAT)), Image.Exif()
    exif[0x0112] = 6
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    files = [variants()["exif"], encoded(photo, "PNG", exif=exif)]
    exact = [clipserve.ExactPixels(image) for image in (*files, *map(Image.open, map(io.BytesIO, files)))]
    turned, both, *opened = client.embed_images(exact).embeddings
    np.testing.assert_allclose(opened, [turned, both], atol=1e-5)
    assert float(turned @ both) < 0.999, "alpha matters"


def test_bad_images_fail_alone_and_name_their_place(client):
    images = [CAT, b"", b"junk", CAT[: len(CAT) // 3], CAT]
    found = client.embed_images(images, on_error="return")
    assert sorted(found.errors) == [1, 2, 3]
    for i, error in found.errors.items():
        assert isinstance(error, clipserve.ImageUnreadable)
        assert error.field.startswith(f"images[{i}]")
    np.testing.assert_allclose(found.embeddings[0], found.embeddings[4], atol=1e-6)


def test_unknown_names_are_not_found(client):
    with pytest.raises(clipserve.ModelNotFound):
        client.embed_texts(["a"], model="nope")
    with pytest.raises(clipserve.CollectionNotFound):
        client.search("nope", text="a dog")


def test_after_all_that_the_service_is_well(live, client):
    for _ in range(3):
        client.embed_images([b"junk"] * 50 + [CAT], on_error="return")
    assert client.classify([CAT], ["cat", "car"])[0].label == "cat"
    with urllib.request.urlopen(live.http + "/readyz", timeout=5) as answer:
        assert answer.status == 200
