"""One gateway: its parts put together, started, drained and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import Protocol

import grpc
from clipserve.v1 import (
    clip_pb2,
    clip_pb2_grpc,
    collection_pb2,
    collection_pb2_grpc,
    labels_pb2,
    labels_pb2_grpc,
)
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from clipserve_gateway.access.audit_log import AuditLog
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.embedding import CollectionEmbedder
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.collection.management import CollectionOps
from clipserve_gateway.collection.migration import Migrator
from clipserve_gateway.collection.points import PointOps
from clipserve_gateway.collection.score_statistics import Statistics
from clipserve_gateway.collection.search import Searcher
from clipserve_gateway.collection.sources import SourceReader
from clipserve_gateway.flow.admission import Admission, Cost
from clipserve_gateway.index.engines import engine_of
from clipserve_gateway.inference.classifier import Classifier
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inference.first_model import FirstModel
from clipserve_gateway.inference.label_cache import LabelCache
from clipserve_gateway.inference.text_store import TextStore
from clipserve_gateway.inputs.decode_pool import DecodePool
from clipserve_gateway.listening import PortTaken, listen_grpc, listen_http
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.http import HttpServer, loop_check
from clipserve_gateway.process.loop_lag import LoopWatch
from clipserve_gateway.process.threads import ThreadCollector
from clipserve_gateway.servicers.admitted_call import Calls
from clipserve_gateway.servicers.call_interceptor import CallInterceptor
from clipserve_gateway.servicers.clip import ClipServicer
from clipserve_gateway.servicers.collections import CollectionServicer
from clipserve_gateway.servicers.grpc_server import grpc_server
from clipserve_gateway.servicers.health import HealthServicer
from clipserve_gateway.servicers.intake import intake_of
from clipserve_gateway.servicers.labels import LabelSetServicer
from clipserve_gateway.servicers.readiness import Readiness
from clipserve_gateway.servicers.reflection import ReflectionServicer
from clipserve_gateway.servicers.security import Security
from clipserve_gateway.servicers.under_way import UnderWay
from clipserve_gateway.settings import Settings
from clipserve_gateway.store.guard import guarded
from clipserve_gateway.triton.canary import CanaryResult
from clipserve_gateway.triton.client import TritonEncoder
from clipserve_gateway.triton.encoder import QueueingEncoder
from clipserve_gateway.triton.models import Models, ModelSource
from clipserve_gateway.triton.replica_pool import ReplicaPool
from clipserve_gateway.types import ModelSpec

__all__ = ["Gateway", "ModelBackend", "PortTaken"]

log = logging.getLogger(__name__)

CLIP_SERVICE = clip_pb2.DESCRIPTOR.services_by_name["ClipService"].full_name
COLLECTION_SERVICE = collection_pb2.DESCRIPTOR.services_by_name["CollectionService"].full_name
LABEL_SET_SERVICE = labels_pb2.DESCRIPTOR.services_by_name["LabelSetService"].full_name
SERVICES = (CLIP_SERVICE, COLLECTION_SERVICE, LABEL_SET_SERVICE)
LEAVE_SECONDS = 1.0
"""After the last call, how long connections may take to end by themselves."""


class ModelBackend(QueueingEncoder, ModelSource, Protocol):
    """The models behind the gateway: all Triton replicas, or a fake."""

    def saturation(self) -> float:
        """How full its queue is, 0–1."""
        ...

    def reusable_result(self, address: str, spec: ModelSpec) -> CanaryResult | None:
        """The result of the last canary run of a model at an address, if it was right and is recent."""
        ...

    async def close(self) -> None:
        """Ends the connection."""
        ...


class Gateway:
    """Serves until it is stopped. Belongs to the event loop it is made on."""

    def __init__(self, settings: Settings, backend: ModelBackend | None = None) -> None:
        """`backend` takes Triton's place, in tests. Raises BadFile."""
        self.settings = settings
        self.security = Security(settings)
        self.metrics = Metrics()
        self.metrics.registry.register(ThreadCollector())
        self._audit = AuditLog(settings.audit_log, self.metrics)
        self.port = 0
        self._health = HealthServicer()
        self._under_way = UnderWay(f"/{health.SERVICE_NAME}/", f"/{reflection.SERVICE_NAME}/")
        self._backend = backend or ReplicaPool(
            settings.triton,
            functools.partial(TritonEncoder, headers=settings.triton_headers),
            self.metrics,
            canary_seconds=settings.canary_seconds,
            bulk_share=settings.bulk_share,
        )
        self.reusable_result = self._backend.reusable_result
        self._engine = guarded(engine_of(settings), self.metrics)
        self._first_model = FirstModel(self._engine)
        self.models = Models(
            self._backend,
            default=settings.default_model,
            poll_seconds=settings.model_poll_seconds,
            metrics=self.metrics,
            on_change=self._tell_models,
            shown=self.security.shows_model,
            first=self._first_model,
        )
        self._pool = DecodePool(self.metrics, settings.decode_threads, settings.bulk_share)
        room = Cost(settings.max_inflight_items, settings.max_inflight_bytes)
        self._admission = Admission(room, settings.bulk_share, self.metrics)
        self._intake = intake_of(settings, self.metrics)
        self._loop_watch = LoopWatch(self.metrics.event_loop_lag.observe)
        self.metrics.watch_saturation(
            loop=self._loop_watch.saturation,
            admission=self._admission.saturation,
            bytes=self._intake.budget.saturation,
            decode=self._pool.saturation,
            encode=self._backend.saturation,
        )
        self._readiness = Readiness(
            self.models, self._engine, self._health, SERVICES, remote="://" in settings.data
        )
        self._catalog = Catalog(self._engine)
        self._embedder = Embedder(
            self.models,
            self._backend,
            self._pool,
            settings.limits,
            self.metrics,
            fast_decode=settings.fast_decode,
        )
        self._collection_embedder = CollectionEmbedder(self.models, self._embedder)
        self._sources = SourceReader(settings.allowed_sources, settings.max_image_bytes)
        self._texts = TextStore(self._engine)
        self._statistics = Statistics(self._engine, self._collection_embedder, self._texts)
        self._migrator = Migrator(
            self._engine, self._catalog, self.models, self._collection_embedder, self._sources
        )
        self._server = self._build_server()
        self._tasks: list[asyncio.Task[None]] = []
        self._http: HttpServer | None = None

    def _build_server(self) -> grpc.aio.Server:
        limits = self.settings.limits
        engine, catalog, embedder = self._engine, self._catalog, self._collection_embedder
        label_sets = LabelSets(engine)
        labels = LabelCache(
            self._embedder, self.settings.label_cache_bytes, self.metrics, label_sets, self._texts
        )
        classifier = Classifier(self.models, self._embedder, labels)
        calls = Calls(
            self.settings.default_timeout_seconds, self._admission, self._intake.budget, self.metrics
        )
        collections = CollectionOps(engine, catalog, self.models, self._statistics)
        points = PointOps(engine, catalog, embedder, self._sources)
        searcher = Searcher(engine, catalog, embedder, self._statistics)
        server = grpc_server(
            self.settings,
            [
                self._under_way,
                CallInterceptor(
                    self.metrics, limits, self._intake, self.settings.default_timeout_seconds, self._audit
                ),
                self.security.interceptor(catalog, self.models, self.metrics),
            ],
        )
        clip_pb2_grpc.add_ClipServiceServicer_to_server(
            ClipServicer(
                self.models, self._embedder, classifier, label_sets, searcher, engine, limits, calls
            ),
            server,
        )
        collection_pb2_grpc.add_CollectionServiceServicer_to_server(
            CollectionServicer(collections, points, self._migrator, limits, calls, self._audit), server
        )
        labels_pb2_grpc.add_LabelSetServiceServicer_to_server(
            LabelSetServicer(label_sets, self.models, limits, self._audit),
            server,
        )
        self._health.add_to(server)
        if self.settings.reflection:
            ReflectionServicer((*SERVICES, health.SERVICE_NAME)).add_to(server)
        return server

    async def start(self) -> None:
        """Listens, and begins to look for models; does not wait for Triton. Raises PortTaken."""
        self.port = listen_grpc(self.settings, self.security, self._server)
        self._http = self._listen_http()
        await self._server.start()
        self._http.start()
        self._tasks.append(asyncio.create_task(self._loop_watch.watch(), name="watch event loop"))
        self._tasks.append(asyncio.create_task(self.models.watch(), name="watch models"))
        self._tasks.append(asyncio.create_task(self._readiness.watch(), name="take calls"))
        self._tasks.append(asyncio.create_task(self._intake.slow.watch(), name="watch slow callers"))
        self._tasks.append(asyncio.create_task(self._migrator.watch(), name="watch migrations"))
        self._tasks.append(asyncio.create_task(self.security.watch(), name="watch certificates and tokens"))
        where = f"{self.settings.host}:{self.port}, {self.security.words}"
        log.info("listening on %s, metrics on port %d", where, self._http.port)
        self.security.warn()

    async def begun(self) -> None:
        """Waits until models have been looked for and the engine has been opened, or could not be."""
        await self._readiness.begun()

    def _listen_http(self) -> HttpServer:
        checks = {
            "/healthz": loop_check(asyncio.get_running_loop(), self._pool.ping),
            "/readyz": self._readiness.unready,
        }
        return listen_http(self.settings, self.metrics.registry, checks)

    @property
    def http_port(self) -> int:
        """Port of the HTTP endpoints; 0 before the start."""
        return self._http.port if self._http else 0

    async def stop(self, *, drain_seconds: float, grace_seconds: float) -> None:
        """Says NOT_SERVING, waits for endpoints to notice, lets running calls finish, and closes all.

        New calls are still served while endpoints notice; no acknowledged write is lost.
        """
        self._readiness.shut_down()
        await asyncio.sleep(drain_seconds)
        await self._stop_server(grace_seconds)
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._first_model.close()
        await self._migrator.close()
        await self._statistics.close()
        await self._catalog.close()
        await self._engine.close()
        self._pool.close()
        await self._backend.close()
        if self._http is not None:
            await asyncio.to_thread(self._http.stop)
        self._audit.close()
        log.info("stopped")

    async def _stop_server(self, grace_seconds: float) -> None:
        """Ends the server when calls are done; a caller that does not read a health answer delays nothing."""
        stopping = asyncio.create_task(self._server.stop(grace_seconds))
        done = asyncio.create_task(self._under_way.none())
        # The server takes up no more calls from here on, and clients hear so before their watches end.
        await asyncio.wait({stopping}, timeout=0.05)
        self._health.close()
        await asyncio.wait({stopping, done}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({stopping}, timeout=LEAVE_SECONDS)
        done.cancel()
        await self._server.stop(None)
        await stopping

    async def _tell_models(self) -> None:
        await self._readiness.tell_models()
