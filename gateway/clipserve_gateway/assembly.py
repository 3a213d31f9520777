"""Builds the parts of a gateway from its settings, and connects them. Starts nothing."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import grpc
from clipserve.v1 import clip_pb2, collection_pb2, labels_pb2
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from clipserve_gateway.access.audit_log import AuditLog
from clipserve_gateway.access.authorizer import Authorizer
from clipserve_gateway.access.caller import visible
from clipserve_gateway.calls.intake import Intake, intake_of
from clipserve_gateway.calls.method import Method, methods_of
from clipserve_gateway.calls.runner import CallRunner
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.embedding import CollectionEmbedder
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.collection.management import CollectionOps
from clipserve_gateway.collection.migration import Migrator
from clipserve_gateway.collection.points import PointOps
from clipserve_gateway.collection.score_statistics import Statistics
from clipserve_gateway.collection.search import Searcher
from clipserve_gateway.collection.sources import SourceReader
from clipserve_gateway.collection.thumbnails import Thumbnails
from clipserve_gateway.flow.admission import Admission, Cost
from clipserve_gateway.grpc_adapter.handlers import add_methods
from clipserve_gateway.grpc_adapter.health import HealthServicer
from clipserve_gateway.grpc_adapter.readiness import Readiness
from clipserve_gateway.grpc_adapter.reflection import ReflectionServicer
from clipserve_gateway.grpc_adapter.security import Security
from clipserve_gateway.grpc_adapter.server import grpc_server
from clipserve_gateway.grpc_adapter.token_interceptor import TokenInterceptor
from clipserve_gateway.grpc_adapter.under_way import UnderWay
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.engines import engine_of
from clipserve_gateway.inference.classifier import Classifier
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inference.first_model import FirstModel
from clipserve_gateway.inference.label_cache import LabelCache
from clipserve_gateway.inference.text_store import TextStore
from clipserve_gateway.inputs.decode_pool import DecodePool
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.loop_lag import LoopWatch
from clipserve_gateway.process.threads import ThreadCollector
from clipserve_gateway.servicers.clip import (
    ClassifyServicer,
    EmbedServicer,
    SearchServicer,
    ServerInfoServicer,
)
from clipserve_gateway.servicers.collections import CollectionServicer
from clipserve_gateway.servicers.labels import LabelSetServicer
from clipserve_gateway.servicers.migrations import MigrationServicer
from clipserve_gateway.servicers.points import PointServicer
from clipserve_gateway.servicers.thumbnails import ThumbnailServicer
from clipserve_gateway.settings import Settings
from clipserve_gateway.store.guard import guarded
from clipserve_gateway.triton.client import TritonEncoder
from clipserve_gateway.triton.models import Models
from clipserve_gateway.triton.replica_pool import ReplicaPool

CLIP_SERVICE = clip_pb2.DESCRIPTOR.services_by_name["ClipService"]
COLLECTION_SERVICE = collection_pb2.DESCRIPTOR.services_by_name["CollectionService"]
LABEL_SET_SERVICE = labels_pb2.DESCRIPTOR.services_by_name["LabelSetService"]
SERVICES = tuple(service.full_name for service in (CLIP_SERVICE, COLLECTION_SERVICE, LABEL_SET_SERVICE))


@dataclass(frozen=True)
class Parts:
    """The parts of one gateway that are started, stopped or looked at from outside.

    Attributes:
        methods: every method of the API, for the adapter of any protocol.
        runner: runs the calls of these methods.
        server: gRPC's server, with all methods registered.
    """

    settings: Settings
    security: Security
    metrics: Metrics
    audit: AuditLog
    backend: ReplicaPool
    engine: Engine
    models: Models
    first_model: FirstModel
    decode_pool: DecodePool
    loop_watch: LoopWatch
    intake: Intake
    catalog: Catalog
    statistics: Statistics
    migrator: Migrator
    health: HealthServicer
    readiness: Readiness
    methods: tuple[Method, ...]
    runner: CallRunner
    under_way: UnderWay
    server: grpc.aio.Server


def assemble(settings: Settings, backend: ReplicaPool | None = None) -> Parts:
    """Builds a gateway on the running event loop. Raises BadFile.

    Args:
        backend: stands in for the replicas of Triton, in tests.
    """
    security = Security(settings)
    metrics = Metrics()
    metrics.registry.register(ThreadCollector())
    audit = AuditLog(settings.audit_log, metrics)
    health_servicer = HealthServicer()
    backend = backend or ReplicaPool(
        settings.triton,
        functools.partial(TritonEncoder, headers=settings.triton_headers),
        metrics,
        canary_seconds=settings.canary_seconds,
        bulk_share=settings.bulk_share,
    )
    engine = guarded(engine_of(settings), metrics)
    first_model = FirstModel(engine)
    models = Models(
        backend,
        default=settings.default_model,
        poll_seconds=settings.model_poll_seconds,
        metrics=metrics,
        on_change=lambda: readiness.report_models(),
        shown=lambda name: visible().sees_model(name),
        first=first_model,
    )
    readiness = Readiness(models, engine, health_servicer, SERVICES, remote="://" in settings.data)

    pool = DecodePool(metrics, settings.decode_threads, settings.bulk_share)
    rules = settings.image_rules
    embedder = Embedder(
        models, backend, pool, settings.limits, metrics, fast_decode=settings.fast_decode, rules=rules
    )
    label_sets, texts = LabelSets(engine), TextStore(engine)
    labels = LabelCache(embedder, settings.label_cache_bytes, metrics, label_sets, texts)

    catalog = Catalog(engine)
    collection_embedder = CollectionEmbedder(models, embedder)
    sources = SourceReader(settings.allowed_sources, settings.max_image_bytes)
    statistics = Statistics(engine, collection_embedder, texts)
    migrator = Migrator(engine, catalog, models, collection_embedder, sources, rules)
    collections = CollectionOps(engine, catalog, models, statistics, rules)
    points = PointOps(engine, catalog, collection_embedder, sources)
    searcher = Searcher(engine, catalog, collection_embedder, statistics)

    intake = intake_of(settings, metrics)
    room = Cost(settings.max_inflight_items, settings.max_inflight_bytes)
    calls = Calls(
        limits=settings.limits,
        default_timeout=settings.default_timeout_seconds,
        authorizer=Authorizer(security.gate, catalog, models, metrics),
        admission=Admission(room, settings.bulk_share, metrics),
        intake=intake,
        audit=audit,
        metrics=metrics,
    )
    loop_watch = LoopWatch(metrics.event_loop_lag.observe)
    metrics.watch_saturation(
        loop=loop_watch.saturation,
        admission=calls.admission.saturation,
        bytes=intake.budget.saturation,
        decode=pool.saturation,
        encode=backend.saturation,
    )

    services = {
        CLIP_SERVICE: (
            ClassifyServicer(Classifier(models, embedder, labels), label_sets, calls),
            EmbedServicer(models, embedder, calls),
            SearchServicer(searcher, catalog, calls),
            ServerInfoServicer(models, engine, calls, rules),
        ),
        COLLECTION_SERVICE: (
            CollectionServicer(collections, calls),
            PointServicer(points, catalog, calls),
            ThumbnailServicer(Thumbnails(points, pool, settings.limits), catalog, calls),
            MigrationServicer(migrator, collections, calls),
        ),
        LABEL_SET_SERVICE: (LabelSetServicer(label_sets, models, calls),),
    }
    runner = CallRunner(calls)
    under_way = UnderWay(f"/{health.SERVICE_NAME}/", f"/{reflection.SERVICE_NAME}/")
    server = grpc_server(settings, [under_way, TokenInterceptor(security.gate, metrics)])
    methods: list[Method] = []
    for service, servicers in services.items():
        own = list(methods_of(service, *servicers))
        add_methods(server, own, runner, settings.limits)
        methods += own
    health_servicer.add_to(server)
    if settings.reflection:
        ReflectionServicer((*SERVICES, health.SERVICE_NAME)).add_to(server)

    return Parts(
        settings=settings,
        security=security,
        metrics=metrics,
        audit=audit,
        backend=backend,
        engine=engine,
        models=models,
        first_model=first_model,
        decode_pool=pool,
        loop_watch=loop_watch,
        intake=intake,
        catalog=catalog,
        statistics=statistics,
        migrator=migrator,
        health=health_servicer,
        readiness=readiness,
        methods=tuple(methods),
        runner=runner,
        under_way=under_way,
        server=server,
    )
