"""The gateway over real gRPC, around a fake encoder: what callers see."""

from __future__ import annotations

import asyncio
import math
import struct
import urllib.error
import urllib.request
import zlib

import grpc
import numpy as np
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc, collection_pb2, collection_pb2_grpc, common_pb2
from clipserve_gateway import errors
from clipserve_gateway.grpc_adapter.health import CALLS_SERVICE, MODEL_SERVICE
from clipserve_gateway.inference.classifier import SCORES_ON_LOOP
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from testing.fakes import DIM, SPEC, FakeBackend, FakeEncoder
from testing.wire import refusal


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def gateway(tmp_path, backend):
    settings = Settings(
        port=0, http_port=0, data=str(tmp_path), max_image_pixels=1_000_000, max_items_per_call=64
    )
    gateway = Gateway(settings, backend)
    await gateway.start()
    await gateway.models.refresh()
    yield gateway
    await gateway.stop(drain_seconds=0, grace_seconds=1)


@pytest.fixture
async def channel(gateway):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        yield channel


@pytest.fixture
def clip(channel):
    return clip_pb2_grpc.ClipServiceStub(channel)


@pytest.fixture
def collections(channel):
    return collection_pb2_grpc.CollectionServiceStub(channel)


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


async def test_unknown_names_are_not_found(clip, collections):
    code, info, _ = await refusal(clip.Embed(clip_pb2.EmbedRequest(model="nope", inputs=[text("a")])))
    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    code, info, _ = await refusal(clip.Search(clip_pb2.SearchRequest(collection="nope", text="a")))
    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")


async def test_too_many_items_are_refused_with_the_limit(clip):
    code, info, _ = await refusal(clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")] * 65)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["limit"]) == ("LIMIT_EXCEEDED", "64")


async def test_a_message_over_the_limit_is_refused_without_a_hint_to_retry(clip):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clip.Embed(clip_pb2.EmbedRequest(inputs=[image(bytes(65 * 2**20))]))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "grpc-retry-pushback-ms" not in dict(raised.value.trailing_metadata() or ())


async def test_bytes_that_are_no_message_are_an_invalid_argument(channel):
    call = channel.unary_unary("/clipserve.v1.ClipService/Embed")
    code, info, _ = await refusal(call(b"\xff\xff\xff"))
    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")


async def test_text_that_is_not_utf8_is_an_invalid_argument(channel):
    call = channel.unary_unary("/clipserve.v1.ClipService/Embed")
    item = b"\x12\x02\xff\xfe"
    code, _, _ = await refusal(call(b"\x12" + bytes([len(item)]) + item))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_deadline_ends_the_call_and_its_inference(gateway, backend):
    backend.encoder.delay = 30
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        clip = clip_pb2_grpc.ClipServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")]), timeout=0.3)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        for _ in range(100):
            if backend.encoder.cancelled:
                break
            await asyncio.sleep(0.05)
        assert backend.encoder.cancelled == 1


async def test_a_fault_of_ours_tells_callers_nothing_and_the_log_everything(clip, backend, caplog):
    def fail(row):
        raise ZeroDivisionError("secret detail")

    backend.encoder.reject = fail
    code, info, _ = await refusal(clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")])))
    assert (code, info.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert any(record.exc_info and "secret detail" in str(record.exc_info[1]) for record in caplog.records)


async def test_overload_tells_when_to_come_back_in_both_ways(clip, backend):
    async def full(*args, **kwargs):
        raise errors.Overloaded("full", retry_after=1.5)

    backend.encoder._answer = full
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")]))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(raised.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1500"
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in rpc_status.from_call(raised.value).details)
    assert retry.retry_delay.ToMilliseconds() == 1500


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
    assert info.limits.max_items_per_call == gateway.settings.max_items_per_call
    assert all(getattr(info.limits, field.name) > 0 for field in info.limits.DESCRIPTOR.fields)


async def test_points_are_kept_found_and_deleted(clip, collections, picture):
    schema = [collection_pb2.PayloadField(name="year", type=common_pb2.PAYLOAD_TYPE_INT)]
    made = await collections.CreateCollection(
        collection_pb2.CreateCollectionRequest(name="pets", schema=schema)
    )
    assert made.collection.model.fingerprint == SPEC.fingerprint
    vector = np.eye(DIM, dtype="<f4")[0]
    points = [
        collection_pb2.PointInput(id="text", text="a dog", payload={"year": common_pb2.Value(int_value=1)}),
        collection_pb2.PointInput(id="image", image=common_pb2.Image(content=picture().content)),
        collection_pb2.PointInput(
            id="vector", embedding=common_pb2.Embedding(float32_le=(vector * 7).tobytes())
        ),
        collection_pb2.PointInput(id="broken", image=common_pb2.Image(content=b"junk")),
        collection_pb2.PointInput(
            id="short", embedding=common_pb2.Embedding(float32_le=vector[:3].tobytes())
        ),
        collection_pb2.PointInput(id="odd", text="x", payload={"month": common_pb2.Value(int_value=1)}),
    ]
    response = await collections.UpsertPoints(
        collection_pb2.UpsertPointsRequest(collection="pets", points=points)
    )
    assert [(status.reason, status.field) for status in response.statuses] == [
        ("", ""),
        ("", ""),
        ("", ""),
        ("IMAGE_UNREADABLE", "points[3].image.content"),
        ("DIMENSION_MISMATCH", "points[4].embedding"),
        ("PAYLOAD_INVALID", 'points[5].payload["month"]'),
    ]
    found = await clip.Search(clip_pb2.SearchRequest(collection="pets", text="a dog", top_k=1))
    assert found.hits[0].id == "text"
    assert found.hits[0].score == pytest.approx(1, abs=1e-5)
    assert found.hits[0].payload["year"].int_value == 1
    stored = await collections.GetPoints(
        collection_pb2.GetPointsRequest(collection="pets", ids=["vector"], with_embeddings=True)
    )
    np.testing.assert_allclose(np.frombuffer(stored.points[0].embedding.float32_le, "<f4"), vector, atol=1e-6)
    gone = await collections.DeletePoints(
        collection_pb2.DeletePointsRequest(collection="pets", ids=["text", "nope"])
    )
    assert gone.deleted == 1
    count = await collections.CountPoints(collection_pb2.CountPointsRequest(collection="pets"))
    assert count.count == 2


def packed(*numbers: float) -> common_pb2.Embedding:
    return common_pb2.Embedding(float32_le=np.array(numbers, "<f4").tobytes())


GOOD = [1.0] * DIM


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"embedding": packed(math.nan, *GOOD[1:])}, "INVALID_ARGUMENT", "embedding.float32_le"),
        ({"embedding": packed(math.inf, *GOOD[1:])}, "INVALID_ARGUMENT", "embedding.float32_le"),
        ({"embedding": packed(*[0.0] * DIM)}, "INVALID_ARGUMENT", "embedding.float32_le"),
        ({"embedding": common_pb2.Embedding(float32_le=b"123")}, "INVALID_ARGUMENT", "embedding.float32_le"),
        ({"embedding": common_pb2.Embedding()}, "INVALID_ARGUMENT", "embedding"),
        ({"embedding": packed(*GOOD, 1.0)}, "FAILED_PRECONDITION", "embedding"),
        ({"text": "a", "top_k": -1}, "INVALID_ARGUMENT", "top_k"),
        ({"text": "a", "top_k": 1001}, "INVALID_ARGUMENT", "top_k"),
        ({"text": "a", "score_threshold": 2.0}, "INVALID_ARGUMENT", "score_threshold"),
        ({"text": "a", "fingerprint": "0" * 64}, "FAILED_PRECONDITION", "fingerprint"),
        ({}, "INVALID_ARGUMENT", "query"),
        ({"text": "a", "filter": common_pb2.Filter()}, "INVALID_ARGUMENT", "filter"),
        ({"image": common_pb2.Image(content=b"junk")}, "INVALID_ARGUMENT", "image.content"),
    ],
)
async def test_a_bad_search_names_the_field(clip, collections, changes, code, field):
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="pets"))
    found, _, fields = await refusal(clip.Search(clip_pb2.SearchRequest(collection="pets", **changes)))
    assert (found.name, fields) == (code, [field])


async def test_a_collection_of_another_model_is_refused(clip, collections, gateway, backend):
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="pets"))
    for tower in backend.source.found.values():
        tower.parameters["fingerprint"] = "0" * 64
    await gateway.models.refresh()
    code, info, _ = await refusal(clip.Search(clip_pb2.SearchRequest(collection="pets", text="a")))
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FINGERPRINT_MISMATCH")
    assert (info.metadata["collection"], info.metadata["request"]) == (SPEC.fingerprint, "0" * 64)
    point = collection_pb2.PointInput(id="a", text="a")
    code, _, _ = await refusal(
        collections.UpsertPoints(collection_pb2.UpsertPointsRequest(collection="pets", points=[point]))
    )
    assert code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("name", ["", "ab", "1abc", "-abc", "a b c", "a" * 65, "drop;table", "naïve"])
async def test_a_bad_collection_name_is_refused(collections, name):
    code, _, fields = await refusal(
        collections.CreateCollection(collection_pb2.CreateCollectionRequest(name=name))
    )
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])


@pytest.mark.parametrize("id", ["", "a" * 513, "a\nb", "\x00", "\x85"])
async def test_a_bad_id_is_refused_alone(collections, id):
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="pets"))
    points = [collection_pb2.PointInput(id=id, text="a"), collection_pb2.PointInput(id="good", text="b")]
    response = await collections.UpsertPoints(
        collection_pb2.UpsertPointsRequest(collection="pets", points=points)
    )
    assert [status.field for status in response.statuses] == ["points[0].id", ""]


async def test_one_id_twice_in_a_call_is_refused(collections):
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="pets"))
    points = [collection_pb2.PointInput(id="a", text="a")] * 2
    _, _, fields = await refusal(
        collections.UpsertPoints(collection_pb2.UpsertPointsRequest(collection="pets", points=points))
    )
    assert fields == ["points[1].id"]


async def test_collections_are_listed_page_by_page(collections):
    for i in range(5):
        await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name=f"pets_{i}"))
    names, token = [], ""
    while True:
        page = await collections.ListCollections(
            collection_pb2.ListCollectionsRequest(page_size=2, page_token=token)
        )
        names += [collection.name for collection in page.collections]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"pets_{i}" for i in range(5)]
    _, _, fields = await refusal(
        collections.ListCollections(collection_pb2.ListCollectionsRequest(page_token="ä"))
    )
    assert fields == ["page_token"]


async def test_health_follows_the_models(gateway, backend, channel):
    health = health_pb2_grpc.HealthStub(channel)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    names = ("", "clipserve.v1.ClipService", CALLS_SERVICE, MODEL_SERVICE + SPEC.name)

    async def statuses():
        return [(await health.Check(health_pb2.HealthCheckRequest(service=name))).status for name in names]

    await gateway.begun()
    assert await statuses() == [serving] * 4
    backend.source.error = errors.ModelUnavailable("down")
    await gateway.models.refresh()
    assert await statuses() == [serving, serving, serving, not_serving]
    backend.source.error = None
    await gateway.models.refresh()
    assert await statuses() == [serving] * 4


def get(gateway, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.http_port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_the_http_port_tells_life_readiness_and_metrics(gateway, backend, clip, collections):
    await gateway.begun()
    await clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")]))
    await refusal(clip.Embed(clip_pb2.EmbedRequest(model="made up", inputs=[text("a")])))
    await collections.ListCollections(collection_pb2.ListCollectionsRequest())
    seconds, labels = "clipserve_request_seconds_count", {"method": "Embed", "model": SPEC.name}
    while not gateway.metrics.registry.get_sample_value(seconds, labels):
        await asyncio.sleep(0.01)
    assert (await asyncio.to_thread(get, gateway, "/healthz"))[0] == 200
    assert (await asyncio.to_thread(get, gateway, "/readyz"))[0] == 200
    backend.source.error = errors.ModelUnavailable("down")
    await gateway.models.refresh()
    assert (await asyncio.to_thread(get, gateway, "/healthz"))[0] == 200
    assert (await asyncio.to_thread(get, gateway, "/readyz"))[0] == 200
    assert (await asyncio.to_thread(get, gateway, "/nope"))[0] == 404
    _, metrics = await asyncio.to_thread(get, gateway, "/metrics")
    assert 'clipserve_requests_total{code="OK",method="Embed",model="fake"} 1.0' in metrics
    assert 'clipserve_request_seconds_count{method="Embed",model="fake"} 1.0' in metrics
    assert 'clipserve_requests_total{code="NOT_FOUND",method="Embed",model=""} 1.0' in metrics
    assert 'clipserve_requests_total{code="OK",method="ListCollections",model=""} 1.0' in metrics
    assert 'clipserve_model_ready{model="fake"} 0.0' in metrics
    assert "clipserve_engine_up 1.0" in metrics
    assert 'clipserve_stage_saturation{stage="decode"} 0.0' in metrics
    assert 'clipserve_stage_saturation{stage="loop"} 0.' in metrics


async def test_a_taken_port_is_told(gateway, tmp_path):
    with pytest.raises(PortTaken, match=str(gateway.port)):
        await Gateway(Settings(port=gateway.port, http_port=0, data=str(tmp_path)), FakeBackend()).start()
    with pytest.raises(PortTaken, match=str(gateway.http_port)):
        await Gateway(
            Settings(port=0, http_port=gateway.http_port, data=str(tmp_path)), FakeBackend()
        ).start()


async def test_stopping_lets_running_calls_finish(tmp_path):
    gateway = Gateway(
        Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend(encoder=FakeEncoder(delay=0.5))
    )
    await gateway.start()
    await gateway.models.refresh()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        call = asyncio.ensure_future(
            clip_pb2_grpc.ClipServiceStub(channel).Embed(clip_pb2.EmbedRequest(inputs=[text("a")]))
        )
        await asyncio.sleep(0.2)
        await gateway.stop(drain_seconds=0, grace_seconds=5)
        assert len((await call).results) == 1


async def test_callers_do_not_come_before_models_have_been_looked_for(tmp_path):
    backend = FakeBackend()
    looking, index = asyncio.Event(), backend.repository_index

    async def slow_index(timeout: float) -> dict[str, bool]:
        await looking.wait()
        return await index(timeout)

    backend.repository_index = slow_index
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), backend)
    await gateway.start()
    wanted = health_pb2.HealthCheckRequest(service=CALLS_SERVICE)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(wanted)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        looking.set()
        await gateway.begun()
        assert (await health.Check(wanted)).status == health_pb2.HealthCheckResponse.SERVING
    await gateway.stop(drain_seconds=0, grace_seconds=1)


async def test_callers_are_told_to_leave_when_it_will_stop_and_not_for_want_of_a_model(tmp_path):
    backend = FakeBackend()
    backend.source.error = errors.ModelUnavailable("down")
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), backend)
    await gateway.start()
    await gateway.begun()
    wanted = health_pb2.HealthCheckRequest(service=CALLS_SERVICE)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(wanted)).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.ensure_future(gateway.stop(drain_seconds=0.3, grace_seconds=1))
        await asyncio.sleep(0.1)
        assert (await health.Check(wanted)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await stopping
