from __future__ import annotations

import asyncio
import dataclasses
import io
import time

import numpy as np
import pytest
from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, in_lane
from clipserve_gateway.inference import embedder as embedder_module
from clipserve_gateway.inference.embedder import Embedder, isolating
from clipserve_gateway.inputs import preprocess
from clipserve_gateway.inputs.openai_tokenizer import OpenAITokenizer
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.settings import Settings
from clipserve_gateway.triton.encoder import padded
from clipserve_gateway.types import AS_OPEN_CLIP, EncodedImage, ImageRules, RawImage, TokenizerSpec
from PIL import Image

from testing.fakes import DIM, SPEC, FakeEncoder, FakeTriton, fake_models

SOON = Deadline.after(3600)
UPRIGHT = ImageRules(orientation=True)


async def test_images_and_texts_come_back_in_the_order_of_the_request(embedder, picture):
    inputs = ["a dog", picture(1), "a cat", picture(2), picture(1)]
    outcome = await embedder.embed("", inputs, deadline=SOON)
    alone = [(await embedder.embed("", [item], deadline=SOON)).items[0].embedding for item in inputs]
    for item, expected in zip(outcome.items, alone, strict=True):
        np.testing.assert_allclose(item.embedding, expected, atol=1e-6)


async def test_embeddings_have_length_one_unless_raw_is_asked_for(embedder, picture):
    normal = (await embedder.embed("", [picture()], deadline=SOON)).items[0].embedding
    raw = (await embedder.embed("", [picture()], normalize=False, deadline=SOON)).items[0].embedding
    assert np.linalg.norm(normal) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(raw / np.linalg.norm(raw), normal, atol=1e-6)


async def test_a_broken_image_does_not_fail_its_neighbors(embedder, picture):
    inputs = [picture(1), EncodedImage(b"no image"), picture(2), errors.InvalidInput("refused at the door")]
    items = (await embedder.embed("", inputs, deadline=SOON)).items
    assert [item.error and item.error.reason for item in items] == [
        None,
        "IMAGE_UNREADABLE",
        None,
        "INVALID_INPUT",
    ]
    assert items[1].error.field == "content"


async def test_an_image_that_the_model_rejects_does_not_fail_its_batch(pool, picture):
    encoder = FakeEncoder(reject=lambda pixels: pixels.max() == 0)
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    black = RawImage(bytes(4 * 4 * 3), 4, 4)
    items = (await embedder.embed("", [picture(1), picture(2), black, picture(3)], deadline=SOON)).items
    assert [item.error and item.error.reason for item in items] == [None, None, "INFERENCE_FAILED", None]


async def test_texts_of_like_length_are_encoded_together(embedder, encoder):
    words = ["dog", "cat", "car", "cup", "sun", "sea", "map", "hat"]
    texts = [*words, *(f"a very long text about many {word}s" for word in words)]
    await embedder.embed("", texts, deadline=SOON)
    assert sorted(shape[1] for shape in encoder.text_batches) == [3, 9]


async def test_a_text_beyond_the_context_is_flagged(embedder):
    items = (await embedder.embed("", ["short", "word " * 100], deadline=SOON)).items
    assert [item.truncated for item in items] == [False, True]


async def test_an_expired_deadline_costs_no_work(embedder, encoder, picture):
    with pytest.raises(errors.DeadlineExceeded):
        await embedder.embed("", [picture(), "text"], deadline=Deadline.after(-1))
    assert encoder.image_batches == encoder.text_batches == []


async def test_a_cancelled_call_cancels_its_inferences(pool):
    encoder = FakeEncoder(delay=30)
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    call = asyncio.ensure_future(embedder.embed("", ["a", "b c d", "e"], deadline=SOON))
    while not encoder.text_batches:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0)
    assert encoder.cancelled == len(encoder.text_batches)


async def test_a_model_that_is_not_ready_is_unavailable_at_once(pool, encoder):
    source = FakeTriton()
    models = await fake_models(source)
    source.error = errors.ModelUnavailable("down")
    await models.refresh()
    embedder = Embedder(models, encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    with pytest.raises(errors.ModelUnavailable):
        await embedder.embed("", ["text"], deadline=SOON)


async def test_a_decoder_that_fails_as_none_should_costs_one_image(embedder, picture, monkeypatch, caplog):
    load = preprocess.load_small

    def crash(content: bytes, *args: object, **options: object) -> object:
        if content == b"crash":
            raise MemoryError("a decoder's own")
        return load(content, *args, **options)

    monkeypatch.setattr(preprocess, "load_small", crash)
    inputs = [picture(1), EncodedImage(b"crash"), picture(2)]
    items = (await embedder.embed("", inputs, deadline=SOON)).items
    assert [item.error and item.error.reason for item in items] == [None, "IMAGE_UNREADABLE", None]
    assert "a decoder's own" in caplog.text


@pytest.mark.parametrize("fast_decode", [True, False])
@pytest.mark.parametrize("raw", [True, False])
async def test_a_picture_may_ask_for_exact_pixels(pool, encoder, picture, monkeypatch, fast_decode, raw):
    asked = []
    for name in ("load_small", "load_raw"):
        load = getattr(preprocess, name)

        def noting(*args, load=load, fast, **options):
            asked.append(fast)
            return load(*args, fast=fast, **options)

        monkeypatch.setattr(preprocess, name, noting)
    embedder = Embedder(
        await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=fast_decode
    )
    for exact in (False, True):
        image = RawImage(b"abcdefghijkl", 2, 2, exact) if raw else EncodedImage(picture(1).content, exact)
        assert (await embedder.embed("", [image], deadline=SOON)).items[0].error is None
    assert asked == [fast_decode, False]


async def test_numbers_that_are_not_finite_cost_their_own_item_and_no_second_try(pool):
    class Overflowing(FakeEncoder):
        async def _answer(self, batch, found):
            answer = await super()._answer(batch, found)
            answer[1, 0] = np.nan
            return answer

    encoder = Overflowing()
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    items = (await embedder.embed("", ["a", "b", "c"], deadline=SOON)).items
    assert [item.error and item.error.reason for item in items] == [None, "INFERENCE_FAILED", None]
    assert len(encoder.text_batches) == 1


async def test_equal_inputs_of_several_calls_are_encoded_once(pool, picture):
    encoder = FakeEncoder(delay=0.05)
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    calls = [embedder.embed("", [picture(1), "a dog"], deadline=SOON) for _ in range(3)]
    answers = await asyncio.gather(*calls, embedder.embed("", [picture(2)], deadline=SOON))
    assert sorted(shape[0] for shape in encoder.image_batches) == [1, 1]
    assert encoder.text_batches == [(1, 4)]
    first, second, third, other = [answer.items[0].embedding for answer in answers]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)
    assert not np.allclose(first, other)


async def test_people_do_not_wait_for_a_job_that_embeds_the_same(pool):
    encoder = FakeEncoder(delay=0.05)
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)

    async def ask(lane: Lane) -> None:
        with in_lane(lane):
            await embedder.embed("", ["a dog"], deadline=SOON)

    await asyncio.gather(*map(ask, Lane))
    assert len(encoder.text_batches) == 2


async def test_what_would_come_too_late_is_refused_before_it_is_decoded(pool, picture, monkeypatch):
    class Full(FakeEncoder):
        def check(self, spec, tower, rows, deadline):
            raise errors.Overloaded(f"{rows} rows for the {tower} tower are too many")

    decoded: list[bytes] = []
    monkeypatch.setattr(preprocess, "load_image", lambda content, *_, **__: decoded.append(content))
    embedder = Embedder(await fake_models(), Full(), pool, Settings().limits, Metrics(), fast_decode=True)
    with pytest.raises(errors.Overloaded, match="2 rows for the image tower"):
        await embedder.embed("", [picture(1), picture(2)], deadline=SOON)
    with pytest.raises(errors.Overloaded, match="1 rows for the text tower"):
        await embedder.embed("", ["a dog"], deadline=SOON)
    assert not decoded


@pytest.mark.parametrize(("lane", "bounded", "most"), [
    (Lane.BULK, True, 2), (Lane.BULK, False, 8), (Lane.INTERACTIVE, True, 8),
])  # fmt: skip
async def test_bulk_is_not_decoded_long_before_a_slow_tower_takes_it(pool, picture, lane, bounded, most):
    under_way, full = [0], asyncio.Event()

    class Slow(FakeEncoder):
        def bounds_bulk(self, spec, tower):
            return bounded

        async def encode(self, spec, tower, rows, deadline):
            under_way.append(under_way[-1] + 1)
            if under_way[-1] == most:
                full.set()
            await asyncio.wait_for(full.wait(), 60)
            embeddings = await super().encode(spec, tower, rows, deadline)
            under_way.append(under_way[-1] - 1)
            return embeddings

    encoder = Slow(delay=0.1)
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    with in_lane(lane):
        outcome = await embedder.embed("", [picture(n) for n in range(32)], deadline=SOON)
    assert all(item.error is None for item in outcome.items)
    assert max(under_way) == most


async def test_isolating_finds_every_bad_item_and_keeps_every_good_one():
    async def encode(batch):
        if (batch == 13).any():
            raise errors.InferenceFailed("13")
        return batch.astype(np.float32)

    batch = np.array([[1], [13], [3], [4], [13], [6], [7]], np.int32)
    items = await isolating(encode, batch)
    assert [item.error is not None for item in items] == [False, True, False, False, True, False, False]
    assert [item.embedding[0] for item in items if item.embedding is not None] == [1, 3, 4, 6, 7]


def test_padding_follows_the_longest_text_or_the_models_own_length():
    ids = [np.array([1, 2, 3], np.int32), np.array([1, 3], np.int32)]
    assert padded(SPEC, ids).tolist() == [[1, 2, 3], [1, 3, 0]]
    own = dataclasses.replace(SPEC, tokenizer=TokenizerSpec(5, kind="huggingface", pad_id=7))
    assert padded(own, ids).tolist() == [[1, 2, 3], [1, 3, 7]]
    fixed = dataclasses.replace(own, fixed_text_length=True)
    assert padded(fixed, ids).tolist() == [[1, 2, 3, 7, 7], [1, 3, 7, 7, 7]]


def test_a_text_without_tokens_is_one_token_of_padding():
    own = dataclasses.replace(SPEC, tokenizer=TokenizerSpec(5, kind="huggingface", pad_id=7))
    assert padded(own, [np.array([], np.int32)]).tolist() == [[7]]


async def test_a_text_at_which_the_tokenizer_fails_leaves_the_others_their_embeddings(embedder, monkeypatch):
    encode = OpenAITokenizer.encode

    def failing(self, texts):
        if "poison" in texts:
            raise errors.InferenceFailed("the tokenizer failed at this text")
        return encode(self, texts)

    monkeypatch.setattr(OpenAITokenizer, "encode", failing)
    items = (await embedder.embed("", ["cat", "poison", "dog"], deadline=SOON)).items
    assert [item.error is not None for item in items] == [False, True, False]
    only = (await embedder.embed("", ["poison"], deadline=SOON)).items
    assert only[0].error.reason == "INFERENCE_FAILED"


async def test_an_embedding_without_direction_is_an_error_of_its_item(pool):
    encoder = FakeEncoder()
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    items = (await embedder.embed("", [RawImage(bytes(12), 2, 2)], deadline=SOON)).items
    assert items[0].error.reason == "INFERENCE_FAILED"
    assert items[0].embedding is None
    assert SPEC.embed_dim == DIM


async def test_images_that_take_much_memory_are_decoded_one_at_a_time(embedder, monkeypatch):
    running, most = [], []

    def load(content: bytes, *args: object, **options: object) -> np.ndarray:
        running.append(content)
        most.append(len(running))
        time.sleep(0.02)
        running.remove(content)
        return np.full((16, 16, 3), content[0], np.uint8)

    monkeypatch.setattr(preprocess, "load_small", lambda *args, **options: 1)
    monkeypatch.setattr(preprocess, "load_image", load)
    inputs = [EncodedImage(bytes([i])) for i in range(1, 9)]
    items = (await embedder.embed("", inputs, deadline=SOON)).items
    assert all(item.error is None for item in items)
    assert max(most) == 1


def turned(picture: EncodedImage) -> EncodedImage:
    """The picture with an EXIF orientation."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[274] = 3
    Image.open(io.BytesIO(picture.content)).save(file, "PNG", exif=exif)
    return EncodedImage(file.getvalue())


async def test_images_follow_the_servers_rules_unless_a_call_has_its_own(pool, encoder, picture):
    embedder = Embedder(
        await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True, rules=UPRIGHT
    )
    plain, marked = picture(1), turned(picture(1))

    async def embedding(image, **rules):
        return (await embedder.embed("", [image], deadline=SOON, **rules)).items[0].embedding.tolist()

    stored = await embedding(plain)
    assert await embedding(marked, rules=AS_OPEN_CLIP) == stored
    assert await embedding(marked) == await embedding(marked, rules=UPRIGHT) != stored


async def test_one_image_under_two_rules_at_the_same_time_is_embedded_twice(embedder, encoder, picture):
    marked = turned(picture(1))
    one, other, again = await asyncio.gather(
        *(
            embedder.embed("", [marked], deadline=SOON, rules=rules)
            for rules in (AS_OPEN_CLIP, UPRIGHT, UPRIGHT)
        )
    )
    assert one.items[0].embedding.tolist() != other.items[0].embedding.tolist()
    assert again.items[0].embedding.tolist() == other.items[0].embedding.tolist()
    assert sum(shape[0] for shape in encoder.image_batches) == 2


@pytest.mark.parametrize(("orientation", "alone"), [(1, [False]), (6, [True])])
async def test_decoded_pixels_whose_copies_take_much_memory_are_turned_one_at_a_time(
    pool, encoder, monkeypatch, orientation, alone
):
    asked, run = [], pool.run

    async def noting(work, **options):
        asked.append(options["alone"])
        return await run(work, **options)

    monkeypatch.setattr(pool, "run", noting)
    monkeypatch.setattr(embedder_module, "LARGE_BYTES", 4 * 100 * 100)
    embedder = Embedder(
        await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True, rules=UPRIGHT
    )
    image = RawImage(b"abc" * 10_000, 100, 100, orientation=orientation)
    assert (await embedder.embed("", [image], deadline=SOON)).items[0].error is None
    assert asked == alone
