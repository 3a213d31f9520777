"""The bundled demo model: whole, small, licensed, and right about a few things it must know."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from clipserve_exporter import demo
from clipserve_exporter.cifar10 import NAMES, TEMPLATES, Cifar10
from clipserve_exporter.torchvision_shim import make_importable
from PIL import Image, ImageDraw

from bench.offline import exact_pixels

make_importable()

from open_clip import SimpleTokenizer  # noqa: E402  (needs torchvision to be importable)

MEGABYTE = 1 << 20
KINDS = {
    "animal": ["cat", "dog", "horse", "bird", "frog"],
    "vehicle": ["car", "truck", "bus", "airplane", "ship"],
    "food": ["pizza", "bread", "cake", "banana", "coffee"],
    "clothes": ["T-shirt", "trousers", "shoes", "hat", "dress"],
}


@pytest.fixture(scope="module")
def model():
    return demo.load_demo()


def embed(model, texts):
    with torch.no_grad():
        found = model.encode_text(SimpleTokenizer()(texts))
    return torch.nn.functional.normalize(found, dim=-1)


def test_model_is_ready_to_use(model):
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert 1 < float(model.logit_scale.exp()) <= 100


def test_embeddings_have_the_configured_shape(model):
    pixels = torch.zeros(2, 3, demo.config()["vision_cfg"]["image_size"], 224)
    with torch.no_grad():
        assert model.encode_image(pixels).shape == (2, demo.config()["embed_dim"])
    assert embed(model, ["a cat", "two dogs", ""]).shape == (3, demo.config()["embed_dim"])


def test_weights_are_finite_and_small(model):
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert demo.weights_path().stat().st_size < 30 * MEGABYTE


def test_license_of_every_part_is_beside_the_weights():
    notice = (demo.folder() / "NOTICE").read_text()
    licenses = {path.name for path in (demo.folder() / "licenses").iterdir()}
    assert len(licenses) >= 4
    assert all(f"licenses/{name}" in notice for name in licenses)


def test_words_of_one_kind_are_nearer_to_each_other_than_to_other_kinds(model):
    words = [(kind, word) for kind, found in KINDS.items() for word in found]
    embeddings = embed(model, [f"a photo of a {word}." for _, word in words])
    cosines = (embeddings @ embeddings.T).numpy()
    kinds = np.array([kind for kind, _ in words])
    same = kinds[:, None] == kinds[None, :]
    np.fill_diagonal(cosines, np.nan)
    assert np.nanmean(cosines[same]) > np.nanmean(cosines[~same]) + 0.1


def test_synonyms_and_plurals_are_nearest_to_each_other(model):
    pairs = [
        ("car", "automobile"),
        ("airplane", "plane"),
        ("cat", "kitten"),
        ("dog", "dogs"),
        ("ship", "ships"),
    ]
    left = embed(model, [a for a, _ in pairs])
    right = embed(model, [b for _, b in pairs])
    assert (left @ right.T).argmax(1).tolist() == list(range(len(pairs)))


def test_unknown_words_share_one_embedding_row(model):
    table = model.token_embedding.weight
    rows, counts = torch.unique(table, dim=0, return_counts=True)
    assert int(counts.max()) > 10_000
    assert len(rows) > 10_000


def test_what_is_saved_is_loaded_again(tmp_path):
    torch.manual_seed(0)
    tokens = torch.tensor([0, 320, 2368, 49405, 49406, 49407])
    small = demo.build(len(tokens))
    demo.save_demo(small, tokens, unknown=49405, path=tmp_path / "weights.safetensors")
    full = demo.load_demo(tmp_path / "weights.safetensors")
    rows = small.token_embedding.weight.half().float()
    assert torch.equal(full.token_embedding.weight[tokens], rows)
    assert torch.equal(full.token_embedding.weight[1234], rows[3])
    assert torch.equal(full.text_projection, small.text_projection.half().float())


def test_traffic_light_that_we_draw_is_told_from_a_ball(model):
    light = Image.new("RGB", (224, 224), (150, 190, 230))
    draw = ImageDraw.Draw(light)
    draw.rectangle((78, 12, 146, 212), fill=(25, 25, 25))
    for top, color in ((22, (240, 30, 30)), (86, (90, 80, 20)), (150, (20, 80, 30))):
        draw.ellipse((86, top, 138, top + 52), fill=color)
    pixels = torch.from_numpy(exact_pixels(light, 224).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        image = torch.nn.functional.normalize(model.encode_image(pixels), dim=-1)
    labels = ["traffic light", "soccer ball", "dog", "pizza", "beach"]
    assert int((image @ embed(model, labels).T).argmax()) == 0


def test_cifar10_is_read_from_both_layouts(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    write_npz(tmp_path / "test.npz", pixels)
    write_batches(tmp_path / "cifar-10-batches-py", pixels)
    for path in (tmp_path / "test.npz", tmp_path / "cifar-10-batches-py"):
        data = Cifar10(path)
        assert data.labels.tolist() == [0, 1, 2]
        found = np.stack([np.asarray(image) for image in data.images(range(len(data)))])
        assert np.array_equal(found, pixels)


def test_cifar10_prompts_are_the_eighteen_published_ones():
    assert len(set(TEMPLATES)) == 18
    assert all(template.count("{}") == 1 for template in TEMPLATES)
    assert len(NAMES) == 10


def write_npz(path, pixels):
    files = []
    for picture in pixels:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        files.append(np.frombuffer(file.getvalue(), np.uint8))
    offsets = np.cumsum([0, *map(len, files)])
    np.savez(path, jpeg=np.concatenate(files), offset=offsets, label=np.arange(len(files), dtype=np.uint8))


def write_batches(folder, pixels):
    folder.mkdir()
    batch = {
        b"data": pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1),
        b"labels": list(range(len(pixels))),
    }
    (folder / "test_batch").write_bytes(pickle.dumps(batch))
