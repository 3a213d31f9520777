"""ClipService over real gRPC, around a fake encoder."""

from __future__ import annotations

import contextlib
import math
import struct
import zlib

import grpc
import numpy as np
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc, common_pb2
from clipserve_gateway.inference.classifier import SCORES_ON_LOOP
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from testing.fakes import DIM, SPEC, FakeBackend, FakeTriton, towers
from testing.wire import refusal


@pytest.fixture
async def serve_models(tmp_path):
    """Serves these towers, and returns a stub."""
    async with contextlib.AsyncExitStack() as open_things:

        async def start(*found) -> clip_pb2_grpc.ClipServiceStub:
            gateway = Gateway(
                Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend(FakeTriton(*found))
            )
            open_things.push_async_callback(gateway.stop, drain_seconds=0, grace_seconds=1)
            await gateway.start()
            await gateway.models.refresh()
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}")
            return clip_pb2_grpc.ClipServiceStub(await open_things.enter_async_context(channel))

        yield start


def text(words: str) -> clip_pb2.EmbedInput:
    return clip_pb2.EmbedInput(text=words)


def image(content: bytes) -> clip_pb2.EmbedInput:
    return clip_pb2.EmbedInput(image=common_pb2.Image(content=content))


def bomb(side: int) -> bytes:
    """A PNG of one color: a few kB on the wire, `side`² × 3 bytes in memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((side * 3 + 1) * 64), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def test_embeddings_say_which_model_made_them(clip, picture):
    response = await clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a dog"), image(picture().content)]))
    assert (response.model.name, response.model.fingerprint) == (SPEC.name, SPEC.fingerprint)
    assert response.normalized
    for result in response.results:
        vector = np.frombuffer(result.embedding.float32_le, "<f4")
        assert vector.shape == (DIM,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("format", "read", "tolerance"),
    [
        (common_pb2.EMBEDDING_FORMAT_FLOAT16_LE, lambda e: np.frombuffer(e.float16_le, "<f2"), 1e-3),
        (common_pb2.EMBEDDING_FORMAT_FLOAT_LIST, lambda e: np.array(e.values.values), 1e-7),
    ],
)
async def test_formats_hold_the_same_numbers(clip, format, read, tolerance):
    plain = await clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a dog")]))
    other = await clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a dog")], format=format))
    expected = np.frombuffer(plain.results[0].embedding.float32_le, "<f4")
    np.testing.assert_allclose(read(other.results[0].embedding), expected, atol=tolerance)


async def test_trailers_tell_the_stages_and_the_callers_request_id(clip, picture):
    call = clip.Embed(
        clip_pb2.EmbedRequest(inputs=[image(picture().content)]), metadata=(("x-request-id", "abc-1"),)
    )
    await call
    trailers = dict(await call.trailing_metadata())
    assert trailers["x-request-id"] == "abc-1"
    assert {"decode", "encode"} <= {part.split(";")[0] for part in trailers["clipserve-timing"].split(", ")}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "IMAGE_UNREADABLE"),
        (b"not an image", "IMAGE_UNREADABLE"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "IMAGE_FORMAT_UNSUPPORTED"),
        (bomb(20_000), "IMAGE_TOO_LARGE"),
        (bomb(900)[:60], "IMAGE_UNREADABLE"),
    ],
    ids=["empty", "text", "svg", "bomb", "truncated"],
)
async def test_a_bad_image_is_named_and_its_neighbors_are_answered(clip, picture, content, reason):
    inputs = [image(picture(1).content), image(content), text("a dog"), image(picture(2).content)]
    response = await clip.Embed(clip_pb2.EmbedRequest(inputs=inputs))
    codes = [result.status.code for result in response.results]
    assert codes == [0, grpc.StatusCode.INVALID_ARGUMENT.value[0], 0, 0]
    assert response.results[1].status.reason == reason
    assert response.results[1].status.field == "inputs[1].image.content"
    assert not response.results[1].HasField("embedding")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (common_pb2.RawImage(rgb=bytes(12), width=2, height=3), "images[0].raw.rgb"),
        (common_pb2.RawImage(rgb=b"", width=0, height=3), "images[0].raw.width"),
        (common_pb2.RawImage(rgb=b"", width=2**32 - 1, height=2**32 - 1), "images[0].raw.rgb"),
    ],
)
async def test_raw_pixels_must_fill_their_size(clip, raw, field):
    response = await clip.Classify(
        clip_pb2.ClassifyRequest(images=[common_pb2.Image(raw=raw)], labels=clip_pb2.LabelSet(names=["a"]))
    )
    assert response.results[0].status.field == field


def labels(*names: str, **rest) -> clip_pb2.LabelSet:
    return clip_pb2.LabelSet(names=names, **rest)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"labels": labels()}, "labels.names"),
        ({"labels": labels("a", "b", "a")}, "labels.names[2]"),
        ({"labels": labels("a", " ")}, "labels.names[1]"),
        ({"labels": labels("a", templates=["a photo"])}, "labels.templates[0]"),
        ({"labels": labels("a", templates=["{}", "{} and {}"])}, "labels.templates[1]"),
        ({"labels": labels("a", "b", thresholds=[0.1])}, "labels.thresholds"),
        ({"labels": labels("a", thresholds=[math.nan])}, "labels.thresholds[0]"),
        ({"labels": labels(*map(str, range(10_001)))}, "labels.names"),
        (
            {"labels": labels(*map(str, range(5_000)), templates=[f"{i} {{}}" for i in range(21)])},
            "labels.templates",
        ),
        ({"top_k": -1}, "top_k"),
        ({"score_mode": 99}, "score_mode"),
        ({"images": []}, "images"),
    ],
)
async def test_a_bad_classify_names_the_field(clip, picture, changes, field):
    good = {"images": [common_pb2.Image(content=picture().content)], "labels": labels("a", "b")}
    code, info, fields = await refusal(clip.Classify(clip_pb2.ClassifyRequest(**(good | changes))))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert fields == [field]
    assert info.reason in ("INVALID_INPUT", "LIMIT_EXCEEDED")


async def test_models_with_a_bias_answer_sigmoids_and_say_so(serve_models, picture):
    clip = await serve_models(*towers(logit_bias="-3.5"))
    request = clip_pb2.ClassifyRequest(
        images=[common_pb2.Image(content=picture().content)], labels=labels("cat", "dog", "bird")
    )
    response = await clip.Classify(request)
    assert response.score_mode == clip_pb2.SCORE_MODE_INDEPENDENT
    assert response.logit_bias == -3.5
    for score in response.results[0].scores:
        expected = 1 / (1 + math.exp(-(response.logit_scale * score.cosine - 3.5)))
        assert score.probability == pytest.approx(expected, rel=1e-4)
    request.score_mode = clip_pb2.SCORE_MODE_SOFTMAX
    response = await clip.Classify(request)
    assert response.score_mode == clip_pb2.SCORE_MODE_SOFTMAX
    assert sum(score.probability for score in response.results[0].scores) == pytest.approx(1)


async def test_models_without_a_bias_answer_softmax_and_have_no_bias(clip, picture):
    request = clip_pb2.ClassifyRequest(
        images=[common_pb2.Image(content=picture().content)], labels=labels("cat", "dog")
    )
    response = await clip.Classify(request)
    assert response.score_mode == clip_pb2.SCORE_MODE_SOFTMAX
    assert not response.HasField("logit_bias")
    assert sum(score.probability for score in response.results[0].scores) == pytest.approx(1)


async def test_top_k_zero_means_five_and_more_than_there_are_means_all(clip, picture):
    images = [common_pb2.Image(content=picture().content)]
    seven = labels(*"abcdefg")
    for top_k, expected in ((0, 5), (3, 3), (1000, 7)):
        response = await clip.Classify(clip_pb2.ClassifyRequest(images=images, labels=seven, top_k=top_k))
        assert len(response.results[0].scores) == expected


async def test_ten_thousand_labels_are_ranked(clip, picture):
    response = await clip.Classify(
        clip_pb2.ClassifyRequest(
            images=[common_pb2.Image(content=picture().content)], labels=labels(*map(str, range(10_000)))
        )
    )
    assert len(response.results[0].scores) == 5


async def test_an_answer_of_many_scores_is_whole(clip, picture):
    names = [f"label {n}" for n in range(SCORES_ON_LOOP // 3 + 1)]
    images = [common_pb2.Image(content=picture(seed).content) for seed in (1, 2, 3)]
    request = clip_pb2.ClassifyRequest(images=images, labels=labels(*names), top_k=len(names))
    response = await clip.Classify(request)
    assert response.logit_scale
    for result in response.results:
        assert sorted(score.index for score in result.scores) == list(range(len(names)))
        assert all(score.label == names[score.index] for score in result.scores)


async def test_an_answer_that_could_outgrow_a_message_is_refused_before_any_work(clip, picture, backend):
    images = [common_pb2.Image(content=picture().content)] * 8
    request = clip_pb2.ClassifyRequest(
        images=images, labels=labels(*(f"{n:04}" + "a" * 2_500 for n in range(4_000))), top_k=4_000
    )
    code, info, fields = await refusal(clip.Classify(request))
    assert (code, info.reason, fields) == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED", ["top_k"])
    assert not backend.encoder.text_batches


async def test_texts_of_any_length_are_embedded_and_long_ones_flagged(clip):
    response = await clip.Embed(
        clip_pb2.EmbedRequest(inputs=[text(""), text("a" * 100_000), text("x" * 2**20 + "x")])
    )
    assert [result.status.reason for result in response.results] == ["", "", "LIMIT_EXCEEDED"]
    assert [result.truncated for result in response.results] == [False, True, False]


async def test_a_stream_answers_in_order_and_outlives_a_refused_batch(clip):
    async def requests():
        for i in range(12):
            yield clip_pb2.EmbedStreamRequest(
                batch_id=i, request=clip_pb2.EmbedRequest(inputs=[text(f"text {i}")] * (i % 3))
            )

    responses = [response async for response in clip.EmbedStream(requests())]
    assert [response.batch_id for response in responses] == list(range(12))
    for i, response in enumerate(responses):
        assert len(response.response.results) == i % 3
        assert response.status.field == ("" if i % 3 else "request.inputs")


async def test_server_info_tells_models_and_limits(clip, gateway):
    info = await clip.GetServerInfo(clip_pb2.GetServerInfoRequest())
    assert info.default_model == SPEC.name
    assert [(model.ref.name, model.ready) for model in info.models] == [(SPEC.name, True)]
    assert [model.license for model in info.models] == ["mit"]
    assert info.limits.max_items_per_call == gateway.settings.max_items_per_call
    assert all(getattr(info.limits, field.name) > 0 for field in info.limits.DESCRIPTOR.fields)
