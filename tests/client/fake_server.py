"""A small but honest clipserve server in this process: the protos' rules, embeddings without a model.

Texts and pictures get deterministic embeddings, so equal inputs are equal and different ones differ. What a
real server does by chance (failing, being late) this one does when told: see `FakeServer.script`.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from client.fake_points import FakeCollection, FakeStore
from clipserve.v1 import clip_pb2, clip_pb2_grpc, collection_pb2, collection_pb2_grpc, common_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from PIL import Image

DIM = 16
LOGIT_SCALE = 20.0
CONTEXT_WORDS = 75
MODEL = common_pb2.ModelRef(name="fake", fingerprint="f" * 64, embed_dim=DIM)
OTHER = common_pb2.ModelRef(name="other", fingerprint="0" * 64, embed_dim=DIM)


class Refused(Exception):
    """A call or an item that the protos say must be refused."""

    def __init__(
        self,
        code: str,
        reason: str,
        message: str,
        field: str = "",
        *,
        retry_after: float | None = None,
        pushback_ms: int | None = None,
        details: bool = True,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.field = code, reason, message, field
        self.retry_after, self.pushback_ms, self.details = retry_after, pushback_ms, details

    def status(self) -> common_pb2.ItemStatus:
        """As the status of an item."""
        number = grpc.StatusCode[self.code].value[0]
        return common_pb2.ItemStatus(code=number, reason=self.reason, field=self.field, message=self.message)

    def at(self, path: str) -> Refused:
        """The same, with the item's path before its field."""
        dotted = f"{path}.{self.field}" if self.field else path
        return Refused(self.code, self.reason, self.message, dotted)

    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """The details of a call that fails."""
        found: list[tuple[str, str | bytes]] = [("x-request-id", "fake-request")]
        if self.details:
            status = status_pb2.Status(code=grpc.StatusCode[self.code].value[0], message=self.message)
            info = error_details_pb2.ErrorInfo(reason=self.reason, domain="clipserve", metadata={"a": "b"})
            status.details.add().Pack(info)
            if self.field:
                violation = error_details_pb2.BadRequest.FieldViolation(
                    field=self.field, description=self.message
                )
                status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
            if self.retry_after is not None:
                delay = Duration()
                delay.FromMilliseconds(int(self.retry_after * 1000))
                status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
            found.append(("grpc-status-details-bin", status.SerializeToString()))
        if self.pushback_ms is not None:
            found.append(("grpc-retry-pushback-ms", str(self.pushback_ms)))
        return tuple(found)


def invalid(reason: str, message: str, field: str = "") -> Refused:
    """INVALID_ARGUMENT."""
    return Refused("INVALID_ARGUMENT", reason, message, field)


@dataclass
class Seen:
    """A call that arrived."""

    method: str
    items: int
    metadata: dict[str, str]
    seconds_left: float | None


@dataclass
class State:
    """What both services share, and what tests look at."""

    limits: clip_pb2.Limits
    calls: list[Seen] = field(default_factory=list)
    script: dict[str, deque[Refused | float | Callable[[Any], None]]] = field(default_factory=dict)
    model: common_pb2.ModelRef = field(default_factory=lambda: MODEL)
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, method: str, items: int, context: grpc.ServicerContext) -> None:
        """Notes a call, and does to it what the script says: refuse it, or wait some seconds."""
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        with self.lock:
            self.calls.append(Seen(method, items, metadata, context.time_remaining()))
            scripted = self.script.get(method)
            step = scripted.popleft() if scripted else None
        if isinstance(step, Refused):
            raise step
        if isinstance(step, float):
            time.sleep(step)


def embed_text(text: str) -> np.ndarray:
    """float32 [DIM]: the sum of the words' own directions, and one that all texts share."""
    total = np.full(DIM, 0.05)
    for word in text.lower().split()[:CONTEXT_WORDS]:
        seed = int.from_bytes(hashlib.sha256(word.strip(".,").encode()).digest()[:4], "little")
        total += np.random.default_rng(seed).normal(size=DIM)
    return total.astype(np.float32)


def embed_pixels(image: Image.Image) -> np.ndarray:
    """float32 [DIM]: a fixed projection of the picture at 4×4 pixels."""
    pixels = np.asarray(image.convert("RGB").resize((4, 4), Image.Resampling.BOX), np.float64).ravel() / 255
    projection = np.random.default_rng(7).normal(size=(pixels.size + 1, DIM))
    return (np.append(pixels, 0.1) @ projection).astype(np.float32)


def embed_image(image: common_pb2.Image, limits: clip_pb2.Limits) -> np.ndarray:
    """float32 [DIM]; Refused for what is no picture."""
    if image.WhichOneof("source") == "raw":
        raw = image.raw
        if not raw.width or not raw.height or len(raw.rgb) != raw.width * raw.height * 3:
            raise invalid("INVALID_INPUT", "the pixels do not fill their size", "raw.rgb")
        return embed_pixels(Image.frombytes("RGB", (raw.width, raw.height), raw.rgb))
    if not image.content:
        raise invalid("IMAGE_UNREADABLE", "the image has no bytes", "content")
    if len(image.content) > limits.max_image_bytes:
        raise invalid("IMAGE_TOO_LARGE", "too many bytes", "content")
    try:
        return embed_pixels(Image.open(io.BytesIO(image.content)))
    except (OSError, SyntaxError, ValueError) as error:
        raise invalid("IMAGE_UNREADABLE", f"not an image: {error}", "content") from error


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector with length 1."""
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def packed(vector: np.ndarray) -> common_pb2.Embedding:
    """The message for an embedding."""
    return common_pb2.Embedding(float32_le=vector.astype("<f4").tobytes())


class Guard:
    """Around each method: note the call, answer what is refused with its status."""

    def __init__(self, state: State) -> None:
        self.state = state

    def call(self, method: str, items: int, context: grpc.ServicerContext, answer: Callable[[], Any]) -> Any:
        """The answer, or the call's failure."""
        with self.state.lock:
            self.state.in_flight += 1
            self.state.most_in_flight = max(self.state.most_in_flight, self.state.in_flight)
        try:
            self.state.enter(method, items, context)
            return answer()
        except Refused as refused:
            context.set_trailing_metadata(refused.trailers())
            context.abort(grpc.StatusCode[refused.code], refused.message)
        finally:
            with self.state.lock:
                self.state.in_flight -= 1

    def check_count(self, count: int, name: str) -> None:
        """1 … max_items_per_call."""
        if not 1 <= count <= self.state.limits.max_items_per_call:
            reason = "LIMIT_EXCEEDED" if count else "INVALID_INPUT"
            raise invalid(reason, f"{count} items", name)

    def check_model(self, name: str) -> None:
        """The only model there is."""
        if name not in ("", self.state.model.name):
            raise Refused("NOT_FOUND", "MODEL_NOT_FOUND", f"no model {name!r}", "model")


class FakeClip(Guard, clip_pb2_grpc.ClipServiceServicer):
    """ClipService."""

    def __init__(self, state: State, store: FakeStore) -> None:
        super().__init__(state)
        self.store = store

    def GetServerInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            model = clip_pb2.ModelInfo(
                ref=self.state.model,
                ready=True,
                architecture="Fake-4",
                image_size=4,
                context_length=CONTEXT_WORDS + 2,
                logit_scale=LOGIT_SCALE,
                precision="fp32",
            )
            return clip_pb2.GetServerInfoResponse(
                version="0.0.1",
                models=[model],
                default_model=self.state.model.name,
                limits=self.state.limits,
            )

        return self.call("GetServerInfo", 0, context, answer)

    def Embed(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.call("Embed", len(request.inputs), context, lambda: self.embed(request))

    def EmbedStream(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            yield self.answer_batch(request, context)

    def answer_batch(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            self.state.enter("EmbedStream", len(request.request.inputs), context)
            response = self.embed(request.request)
        except Refused as refused:
            if refused.details and refused.code != "UNAVAILABLE":
                status = refused.at("request").status()
                return clip_pb2.EmbedStreamResponse(batch_id=request.batch_id, status=status)
            context.set_trailing_metadata(refused.trailers())
            context.abort(grpc.StatusCode[refused.code], refused.message)
        return clip_pb2.EmbedStreamResponse(batch_id=request.batch_id, response=response)

    def embed(self, request: Any) -> clip_pb2.EmbedResponse:
        self.check_count(len(request.inputs), "inputs")
        self.check_model(request.model)
        results = []
        for i, item in enumerate(request.inputs):
            kind = item.WhichOneof("input")
            path = f"inputs[{i}].image" if kind == "image" else f"inputs[{i}]"
            try:
                if kind is None:
                    raise invalid("INVALID_INPUT", "set image or text")
                vector = (
                    embed_text(item.text) if kind == "text" else embed_image(item.image, self.state.limits)
                )
            except Refused as refused:
                results.append(clip_pb2.EmbedResult(status=refused.at(path).status()))
                continue
            results.append(
                clip_pb2.EmbedResult(
                    embedding=packed(vector if request.raw else unit(vector)),
                    truncated=len(item.text.split()) > CONTEXT_WORDS,
                )
            )
        return clip_pb2.EmbedResponse(results=results, model=self.state.model, normalized=not request.raw)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.call("Classify", len(request.images), context, lambda: self.classify(request))

    def classify(self, request: Any) -> clip_pb2.ClassifyResponse:
        self.check_count(len(request.images), "images")
        self.check_model(request.model)
        labels = self.label_embeddings(request.labels)
        if request.top_k < 0:
            raise invalid("INVALID_INPUT", "top_k must not be negative", "top_k")
        mode = request.score_mode or clip_pb2.SCORE_MODE_SOFTMAX
        results = []
        for i, image in enumerate(request.images):
            try:
                vector = unit(embed_image(image, self.state.limits))
            except Refused as refused:
                results.append(clip_pb2.ClassifyResult(status=refused.at(f"images[{i}]").status()))
                continue
            scores = self.scores(labels @ vector, request, mode)
            results.append(clip_pb2.ClassifyResult(scores=scores))
        return clip_pb2.ClassifyResponse(
            results=results, model=self.state.model, score_mode=mode, logit_scale=LOGIT_SCALE
        )

    def label_embeddings(self, labels: clip_pb2.LabelSet) -> np.ndarray:
        names, templates = list(labels.names), list(labels.templates) or ["a photo of a {}."]
        if not names:
            raise invalid("INVALID_INPUT", "name at least one label", "labels.names")
        if len(names) > self.state.limits.max_labels:
            raise invalid("LIMIT_EXCEEDED", "too many labels", "labels.names")
        for i, name in enumerate(names):
            if not name.strip() or name in names[:i]:
                raise invalid("INVALID_INPUT", "empty or repeated label", f"labels.names[{i}]")
        for i, template in enumerate(templates):
            if template.count("{}") != 1:
                raise invalid("INVALID_INPUT", "one {} please", f"labels.templates[{i}]")
        if len(labels.thresholds) not in (0, len(names)):
            raise invalid("INVALID_INPUT", "one threshold for each label", "labels.thresholds")
        prompts = np.array([[unit(embed_text(t.replace("{}", name))) for t in templates] for name in names])
        return np.array([unit(rows.mean(axis=0)) for rows in prompts])

    def scores(self, cosines: np.ndarray, request: Any, mode: int) -> list[clip_pb2.LabelScore]:
        logits = np.exp(LOGIT_SCALE * (cosines - cosines.max()))
        probabilities = logits / logits.sum()
        found = []
        for index in np.argsort(-cosines, kind="stable")[: request.top_k or 5]:
            score = clip_pb2.LabelScore(label=request.labels.names[index], index=index, cosine=cosines[index])
            if mode == clip_pb2.SCORE_MODE_SOFTMAX:
                score.probability = probabilities[index]
            if request.labels.thresholds:
                score.above_threshold = bool(cosines[index] >= request.labels.thresholds[index])
            found.append(score)
        return found

    def Search(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            collection = self.store.get(request.collection)
            kind = request.WhichOneof("query")
            if request.top_k < 0:
                raise invalid("INVALID_INPUT", "top_k must not be negative", "top_k")
            if request.fingerprint not in ("", collection.model.fingerprint):
                raise Refused("FAILED_PRECONDITION", "FINGERPRINT_MISMATCH", "another model", "fingerprint")
            vector = self.store.vector(request, kind, self.state.limits)
            threshold = request.score_threshold if request.HasField("score_threshold") else -2.0
            found = collection.matching(request.filter if request.HasField("filter") else None)
            scored = sorted(((-float(p.vector @ vector), p) for p in found), key=lambda it: (it[0], it[1].id))
            hits = [
                clip_pb2.SearchHit(
                    id=point.id, score=-score, payload={} if request.omit_payload else point.payload
                )
                for score, point in scored[: request.top_k or 10]
                if -score >= threshold
            ]
            long = kind == "text" and len(request.text.split()) > CONTEXT_WORDS
            return clip_pb2.SearchResponse(hits=hits, model=collection.model, truncated=long)

        return self.call("Search", 1, context, answer)


class FakeCollections(Guard, collection_pb2_grpc.CollectionServiceServicer):
    """CollectionService."""

    def __init__(self, state: State, store: FakeStore) -> None:
        super().__init__(state)
        self.store = store

    def CreateCollection(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            self.check_model(request.model)
            made = self.store.create(request.name, self.state.model, request.schema)
            return collection_pb2.CreateCollectionResponse(collection=made.message())

        return self.call("CreateCollection", 0, context, answer)

    def GetCollection(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            return collection_pb2.GetCollectionResponse(collection=self.store.get(request.name).message())

        return self.call("GetCollection", 0, context, answer)

    def ListCollections(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            # Pages of two, whatever was asked for: a server may always send fewer.
            names = [name for name in sorted(self.store.collections) if name > request.page_token]
            page, more = names[:2], names[2:]
            return collection_pb2.ListCollectionsResponse(
                collections=[self.store.collections[name].message() for name in page],
                next_page_token=page[-1] if more else "",
            )

        return self.call("ListCollections", 0, context, answer)

    def DeleteCollection(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            self.store.get(request.name)
            del self.store.collections[request.name]
            return collection_pb2.DeleteCollectionResponse()

        return self.call("DeleteCollection", 0, context, answer)

    def UpsertPoints(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            collection = self.store.get(request.collection)
            self.check_count(len(request.points), "points")
            if request.fingerprint not in ("", collection.model.fingerprint):
                raise Refused("FAILED_PRECONDITION", "FINGERPRINT_MISMATCH", "another model", "fingerprint")
            statuses = [self.upsert(collection, point, i) for i, point in enumerate(request.points)]
            return collection_pb2.UpsertPointsResponse(statuses=statuses, model=collection.model)

        return self.call("UpsertPoints", len(request.points), context, answer)

    def upsert(self, collection: FakeCollection, point: Any, i: int) -> common_pb2.ItemStatus:
        try:
            vector = self.store.vector(point, point.WhichOneof("source"), self.state.limits)
            collection.upsert(point, vector)
        except Refused as refused:
            return refused.at(f"points[{i}]").status()
        return common_pb2.ItemStatus()

    def DeletePoints(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            collection = self.store.get(request.collection)
            self.check_count(len(request.ids), "ids")
            gone = [collection.points.pop(id, None) for id in request.ids]
            return collection_pb2.DeletePointsResponse(deleted=sum(point is not None for point in gone))

        return self.call("DeletePoints", len(request.ids), context, answer)

    def GetPoints(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            collection = self.store.get(request.collection)
            self.check_count(len(request.ids), "ids")
            found = [collection.points[id] for id in request.ids if id in collection.points]
            points = [
                collection_pb2.Point(
                    id=point.id,
                    payload=point.payload,
                    embedding=packed(point.vector) if request.with_embeddings else None,
                )
                for point in found
            ]
            return collection_pb2.GetPointsResponse(points=points, model=collection.model)

        return self.call("GetPoints", len(request.ids), context, answer)

    def CountPoints(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            condition = request.filter if request.HasField("filter") else None
            count = len(self.store.get(request.collection).matching(condition))
            return collection_pb2.CountPointsResponse(count=count)

        return self.call("CountPoints", 0, context, answer)


DEFAULT_LIMITS = {
    "max_message_bytes": 4 * 1024 * 1024,
    "max_items_per_call": 16,
    "max_image_bytes": 1024 * 1024,
    "max_image_pixels": 1_000_000,
    "max_labels": 2_000,
    "max_prompts": 100_000,
    "max_top_k": 1_000,
    "max_text_bytes": 1024 * 1024,
    "stream_window": 3,
    "max_payload_bytes": 4096,
}


class FakeServer:
    """Listens on a free port of 127.0.0.1 until it is stopped.

    Attributes:
        address: HOST:PORT.
        state: what arrived, and the script.
    """

    def __init__(self, tls: Path | None = None, **limits: int) -> None:
        self.tls = tls
        self.state = State(clip_pb2.Limits(**(DEFAULT_LIMITS | limits)))
        self.store = FakeStore(embed_text, embed_image, unit, Refused)
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listens; again on the same port after a stop."""
        self._server = grpc.server(
            futures.ThreadPoolExecutor(16),
            options=[
                ("grpc.max_receive_message_length", self.state.limits.max_message_bytes),
                ("grpc.max_send_message_length", self.state.limits.max_message_bytes),
                ("grpc.so_reuseport", 0),
            ],
        )
        clip_pb2_grpc.add_ClipServiceServicer_to_server(FakeClip(self.state, self.store), self._server)
        collection_pb2_grpc.add_CollectionServiceServicer_to_server(
            FakeCollections(self.state, self.store), self._server
        )
        address = f"127.0.0.1:{self.port}"
        if self.tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            pair = [(self.tls / name).read_bytes() for name in ("key.pem", "cert.pem")]
            self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([tuple(pair)]))
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def stop(self) -> None:
        """Stops at once."""
        self._server.stop(0).wait()

    def script(self, method: str, *steps: Refused | float) -> None:
        """What to do to the next calls of a method, one step a call: refuse it, or answer late (seconds)."""
        self.state.script[method] = deque(steps)

    def seen(self, method: str) -> list[Seen]:
        """The calls of a method that arrived."""
        return [call for call in self.state.calls if call.method == method]
