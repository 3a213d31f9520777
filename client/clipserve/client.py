"""The sync client."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy.typing as npt
from google.protobuf.message import Message

from clipserve.channel import DEFAULT_TARGET, Tls, open_channel, target_uri
from clipserve.errors import LimitExceeded, ResourceExhausted
from clipserve.filters import Filter
from clipserve.images import ImageLike
from clipserve.jobs.base import Job, OnError
from clipserve.jobs.classify import ClassifyJob
from clipserve.jobs.embed import EmbedJob
from clipserve.jobs.points import DeletePointsJob, GetPointsJob, UpsertJob
from clipserve.labels import LabelSet, to_label_set
from clipserve.pipeline import in_order
from clipserve.requests import Chunk, rebaser
from clipserve.responses import read_collection, read_search, read_server_info
from clipserve.retry import NO_RETRIES, RetryPolicy
from clipserve.single import (
    count_request,
    create_request,
    list_request,
    search_request,
)
from clipserve.stream import EmbedStream, parts_of
from clipserve.transport import Scope, TokenSource, Transport
from clipserve.types import (
    ClassifyResult,
    Collection,
    EmbedResult,
    Point,
    SearchResult,
    ServerInfo,
    StoredPoint,
    UpsertResult,
)
from clipserve.v1 import clip_pb2, collection_pb2

R = TypeVar("R")
Progress = Callable[[int], None]

DEFAULT_TIMEOUT = 60.0
INFO_SECONDS = 300.0
"""How long the server's limits are believed."""


class Client:
    """A connection to a clipserve gateway. Thread-safe; make one and keep it.

    Args:
        target: `HOST[:PORT]` (a name is resolved to all its addresses, and calls go to them in turn), or a
            gRPC URI such as `dns:///gateway:8600` or `unix:/run/clipserve.sock`.
        timeout: seconds that one request may take, its retries included. Long lists travel as several
            requests, and each has this time. None: 60 s, and more for large requests (half a second an
            image, 10 ms a prompt), since a label set may have to be encoded first.
        token: bearer token, or a function that returns the current one. Use it with TLS only.
        tls: True for TLS with the system's authorities, or a `Tls` for others and for client certificates.
        retry: when to try again; None never does.
        batch_size: images or texts in one request, at most; servers may publish a lower limit.
        in_flight: requests of one call that are under way at a time.

    Every method raises ClipserveError or one of its subclasses for what the server, the network or a file
    did, and TypeError or ValueError for arguments that cannot be meant.

    Methods that take lists have `on_error`: with ``"raise"`` (the default) they raise BatchError if some
    items failed, after all others were answered, and the exception's `result` holds those; with ``"return"``
    they return the result, whose `errors` says what failed. `progress` is called with the number of items
    answered so far.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float | None = None,
        token: TokenSource = None,
        tls: Tls | bool = False,
        retry: RetryPolicy | None = RetryPolicy(),  # noqa: B008  (frozen)
        batch_size: int = 64,
        in_flight: int = 4,
    ) -> None:
        if batch_size < 1 or in_flight < 1:
            raise ValueError("batch_size and in_flight must be at least 1")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout is {timeout}; it must be above 0 seconds")
        security = Tls() if tls is True else tls or None
        uri = target_uri(target)
        self.target = target
        self._channel = open_channel(uri, security)
        self._transport = Transport(self._channel, uri, token, retry or NO_RETRIES)
        self._timeout = timeout
        self._batch_size = batch_size
        self._in_flight = in_flight
        self._info: tuple[float, ServerInfo] | None = None
        self._info_lock = threading.Lock()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def info(self, *, timeout: float | None = None) -> ServerInfo:
        """The server's models and limits, asked anew."""
        response = self._call("GetServerInfo", clip_pb2.GetServerInfoRequest(), timeout)
        found = read_server_info(response)
        with self._info_lock:
            self._info = (time.monotonic(), found)
        return found

    def classify(
        self,
        images: Iterable[ImageLike],
        labels: Iterable[str] | LabelSet,
        *,
        templates: Sequence[str] | None = None,
        top_k: int = 5,
        mode: Literal["softmax", "independent"] = "softmax",
        thresholds: Sequence[float] | float | None = None,
        model: str = "",
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> ClassifyResult:
        """The best labels for each image.

        Args:
            images: encoded bytes, paths, uint8 arrays [H, W, 3] or Pillow images.
            labels: distinct names, or a LabelSet such as `label_set("imagenet1k")`.
            templates: prompts with one `{}` each; a label's embedding is their mean. None: the label set's,
                or `a photo of a {}.`
            top_k: labels to return for each image, best first; more than there are labels returns all, 0 the
                server's default.
            mode: ``softmax`` if one label is right, ``independent`` if any number may be.
            thresholds: cosine from which a label counts as present, one for all or one for each.
            model: name of the model; empty means the server's default.
        """
        job = ClassifyJob(
            images,
            to_label_set(labels, templates, thresholds),
            top_k=top_k,
            mode=mode,
            model=model,
            on_error=on_error,
        )
        return self._run(job, timeout, progress)

    def embed_images(
        self,
        images: Iterable[ImageLike],
        *,
        model: str = "",
        normalize: bool = True,
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> EmbedResult:
        """Embeddings of images: float32 [N, D], L2-normalized unless `normalize` is False."""
        job = EmbedJob("images", images, model=model, normalize=normalize, on_error=on_error)
        return self._run(job, timeout, progress)

    def embed_texts(
        self,
        texts: Iterable[str],
        *,
        model: str = "",
        normalize: bool = True,
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> EmbedResult:
        """Embeddings of texts: float32 [N, D], L2-normalized unless `normalize` is False.

        Texts longer than the model's context lose their end; `truncated` says which did.
        """
        job = EmbedJob("texts", texts, model=model, normalize=normalize, on_error=on_error)
        return self._run(job, timeout, progress)

    def embed_stream(
        self,
        batches: Iterable[Iterable[Any]],
        *,
        kind: Literal["images", "texts"] = "images",
        model: str = "",
        normalize: bool = True,
        on_error: OnError = "raise",
        timeout: float | None = None,
    ) -> Iterator[EmbedResult]:
        """Embeds batch after batch over one stream, for sources without end: one result for each batch.

        Batches are drawn as answers come, a few ahead. `timeout` is for each answer, not for the stream.
        """

        def start(batch: Iterable[Any]) -> EmbedJob:
            return EmbedJob(kind, batch, model=model, normalize=normalize, on_error=on_error)

        info = self._cached_info()
        size = info.limits.max_items_per_call
        patience = timeout or self._timeout or DEFAULT_TIMEOUT + size / 2
        window = info.limits.stream_window
        parts = parts_of(batches, start, info, size)
        return EmbedStream(self._transport, parts, window=window, timeout=patience).results()

    def search(
        self,
        collection: str,
        *,
        text: str | None = None,
        image: ImageLike | None = None,
        embedding: npt.ArrayLike | None = None,
        top_k: int = 10,
        score_threshold: float | None = None,
        filter: Filter | None = None,
        with_payload: bool = True,
        fingerprint: str = "",
        timeout: float | None = None,
    ) -> SearchResult:
        """The points nearest to exactly one of `text`, `image` and `embedding`, best first.

        Args:
            score_threshold: leaves out hits with a lower cosine.
            filter: searches only points whose payload meets it, e.g. `F("year") >= 2020`.
            with_payload: False leaves the payloads out.
            fingerprint: of the model that made `embedding`; a collection of another one is refused.
        """
        request = search_request(
            collection,
            text=text,
            image=image,
            embedding=embedding,
            top_k=top_k,
            score_threshold=score_threshold,
            filter=filter,
            with_payload=with_payload,
            fingerprint=fingerprint,
        )
        return read_search(self._call("Search", request, timeout))

    def create_collection(
        self,
        name: str,
        *,
        schema: Mapping[str, str] | None = None,
        model: str = "",
        metric: Literal["cosine"] = "cosine",
        timeout: float | None = None,
    ) -> Collection:
        """Makes an empty collection for one model.

        Args:
            name: 3 to 64 letters, digits and underscores, no digit first.
            schema: type of each payload field: string, int, double, bool, timestamp or string_list.
            model: whose embeddings it will hold; empty means the server's default.
        """
        request = create_request(name, schema or {}, model, metric)
        return read_collection(self._call("CreateCollection", request, timeout, idempotent=False).collection)

    def get_collection(self, name: str, *, timeout: float | None = None) -> Collection:
        """One collection; raises CollectionNotFound."""
        request = collection_pb2.GetCollectionRequest(name=name)
        return read_collection(self._call("GetCollection", request, timeout).collection)

    def list_collections(self, *, timeout: float | None = None) -> tuple[Collection, ...]:
        """All collections, by name."""
        found: list[Collection] = []
        token = ""
        while True:
            response = self._call("ListCollections", list_request(token), timeout)
            found.extend(read_collection(collection) for collection in response.collections)
            token = response.next_page_token
            if not token:
                return tuple(found)

    def delete_collection(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes a collection and all its points, for good."""
        request = collection_pb2.DeleteCollectionRequest(name=name)
        self._call("DeleteCollection", request, timeout, idempotent=False)

    def upsert(
        self,
        collection: str,
        points: Iterable[Point],
        *,
        fingerprint: str = "",
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> UpsertResult:
        """Adds points, or replaces those whose ids exist. What is answered as written survives a crash.

        Args:
            points: drawn as requests are built, so a generator of a million is fine; no id twice.
            fingerprint: of the model that made the points' embeddings; a collection of another one refuses.
        """
        job = UpsertJob(collection, points, fingerprint=fingerprint, on_error=on_error)
        return self._run(job, timeout, progress)

    def delete_points(self, collection: str, ids: Iterable[str], *, timeout: float | None = None) -> int:
        """Deletes points by id, and says how many existed."""
        return int(self._run(DeletePointsJob(collection, ids), timeout))

    def get_points(
        self,
        collection: str,
        ids: Iterable[str],
        *,
        with_embeddings: bool = False,
        timeout: float | None = None,
    ) -> tuple[StoredPoint, ...]:
        """The points that exist, in the order of the ids."""
        job = GetPointsJob(collection, ids, with_embeddings=with_embeddings)
        return tuple(self._run(job, timeout))

    def count(self, collection: str, filter: Filter | None = None, *, timeout: float | None = None) -> int:
        """How many points there are, or how many meet a filter."""
        return int(self._call("CountPoints", count_request(collection, filter), timeout).count)

    def _call(self, name: str, request: Message, timeout: float | None, *, idempotent: bool = True) -> Any:
        seconds = timeout or self._timeout or DEFAULT_TIMEOUT
        return self._transport.unary(name, request, timeout=seconds, idempotent=idempotent)

    def _run(self, job: Job[R], timeout: float | None, progress: Progress | None = None) -> R:
        """Sends a job's requests, a few at a time, and returns its result."""
        fixed = timeout or self._timeout
        caller = threading.current_thread()
        with Scope() as scope:

            def answer(chunk: Chunk) -> Any:
                return self._transport.unary(
                    job.method,
                    chunk.request,
                    timeout=fixed or DEFAULT_TIMEOUT + job.extra_seconds(chunk),
                    idempotent=job.idempotent,
                    rebase=rebaser(job.name, chunk.positions),
                    scope=None if threading.current_thread() is caller else scope,
                )

            chunks = job.chunks(self._cached_info(timeout), self._batch_size)
            try:
                pairs = in_order(chunks, answer, width=self._in_flight, cancel=scope.cancel)
                with contextlib.closing(pairs):
                    for chunk, response in pairs:
                        job.take(chunk, response)
                        if progress is not None:
                            progress(chunk.positions[-1] + 1)
            except (LimitExceeded, ResourceExhausted):
                # The limits may have changed under us: ask for them before the next call.
                with self._info_lock:
                    self._info = None
                raise
        if progress is not None:
            progress(job.total)
        return job.result()

    def _cached_info(self, timeout: float | None = None) -> ServerInfo:
        with self._info_lock:
            cached = self._info
        if cached is not None and time.monotonic() - cached[0] < INFO_SECONDS:
            return cached[1]
        return self.info(timeout=timeout)
