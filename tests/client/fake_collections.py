"""CollectionService of the fake server."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from client.fake_base import Guard, Refused, State, invalid, page_of
from client.fake_model import CONTEXT_WORDS
from client.fake_points import FakeCollection, FakeStore
from client.fake_search import statistics
from clipserve.v1 import collection_pb2, collection_pb2_grpc, common_pb2
from PIL import Image

TOKEN = "after:"
"""Prefix of the page tokens of ScrollPoints, so that an id is not a valid token."""


class FakeCollections(Guard, collection_pb2_grpc.CollectionServiceServicer):
    """CollectionService."""

    def __init__(self, state: State, store: FakeStore) -> None:
        super().__init__(state)
        self.store = store

    def told(self, collection: FakeCollection) -> collection_pb2.Collection:
        """The message of one collection."""
        message = collection.message(self.store.aliases_of(collection))
        count = len(collection.points)
        small = count < 5 or collection.request.index_options.exact
        state = collection_pb2.INDEX_STATE_NONE if small else collection_pb2.INDEX_STATE_READY
        message.index_status.CopyFrom(collection_pb2.IndexStatus(state=state, indexed=0 if small else count))
        message.score_statistics.extend(statistics(collection))
        return message

    def CreateCollection(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            made = self.store.create(request)
            return collection_pb2.CreateCollectionResponse(collection=self.told(made))

        return self.call("CreateCollection", 0, context, answer)

    def GetCollection(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            collection = self.store.get(request.name)
            self.store.advance(collection)
            return collection_pb2.GetCollectionResponse(collection=self.told(collection))

        return self.call("GetCollection", 0, context, answer)

    def ListCollections(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            page, token = page_of(self.store.collections.items(), request)
            messages = [collection.message(self.store.aliases_of(collection)) for collection in page]
            return collection_pb2.ListCollectionsResponse(collections=messages, next_page_token=token)

        return self.call("ListCollections", 0, context, answer)

    def DeleteCollection(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            self.store.drop(request.name)
            return collection_pb2.DeleteCollectionResponse()

        return self.call("DeleteCollection", 0, context, answer)

    def PurgeCollection(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            self.store.get(request.name)
            return collection_pb2.PurgeCollectionResponse()

        return self.call("PurgeCollection", 0, context, answer)

    def PutAlias(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            return collection_pb2.PutAliasResponse(previous_collection=self.store.put_alias(request.alias))

        return self.call("PutAlias", 0, context, answer)

    def DeleteAlias(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            if self.store.aliases.pop(request.name, None) is None:
                raise Refused("NOT_FOUND", "ALIAS_NOT_FOUND", f"no alias {request.name!r}", "name")
            return collection_pb2.DeleteAliasResponse()

        return self.call("DeleteAlias", 0, context, answer)

    def ListAliases(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            aliases = [
                (alias, collection_pb2.Alias(name=alias, collection=name))
                for alias, name in self.store.aliases.items()
            ]
            page, token = page_of(aliases, request)
            return collection_pb2.ListAliasesResponse(aliases=page, next_page_token=token)

        return self.call("ListAliases", 0, context, answer)

    def UpsertPoints(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.call("UpsertPoints", len(request.points), context, lambda: self.upsert(request))

    def UpsertPointsStream(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            batch = request.request
            items = len(batch.points)
            yield collection_pb2.UpsertPointsStreamResponse(
                **self.batch(
                    "UpsertPointsStream", items, request, context, lambda batch=batch: self.upsert(batch)
                )
            )

    def upsert(self, request: Any) -> collection_pb2.UpsertPointsResponse:
        collection = self.store.get(request.collection)
        self.check_count(len(request.points), "points")
        if request.fingerprint not in ("", collection.model.fingerprint):
            raise Refused("FAILED_PRECONDITION", "FINGERPRINT_MISMATCH", "another model", "fingerprint")
        statuses = [self.upsert_one(collection, point, i) for i, point in enumerate(request.points)]
        truncated = [i for i, it in enumerate(request.points) if len(it.text.split()) > CONTEXT_WORDS]
        return collection_pb2.UpsertPointsResponse(
            statuses=statuses, model=collection.model, truncated=truncated
        )

    def upsert_one(self, collection: FakeCollection, point: Any, i: int) -> common_pb2.ItemStatus:
        try:
            with self.state.lock:
                self.store.upsert(collection, point)
        except Refused as refused:
            return refused.at(f"points[{i}]").status()
        return common_pb2.ItemStatus()

    def DeletePoints(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            collection = self.store.get(request.collection)
            if bool(request.ids) == request.HasField("filter"):
                raise invalid("INVALID_INPUT", "set ids or filter", "ids")
            ids = list(request.ids)
            if request.HasField("filter"):
                ids = [point.id for point in collection.matching(request.filter)]
            else:
                self.check_count(len(ids), "ids")
            gone = [collection.every.pop(id, None) for id in ids]
            return collection_pb2.DeletePointsResponse(deleted=sum(point is not None for point in gone))

        return self.call("DeletePoints", len(request.ids), context, answer)

    def GetPoints(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            collection = self.store.get(request.collection)
            self.check_count(len(request.ids), "ids")
            known = collection.points
            points = [
                known[id].message(
                    collection.model,
                    with_embeddings=request.with_embeddings,
                    with_sources=request.with_sources,
                )
                for id in request.ids
                if id in known
            ]
            return collection_pb2.GetPointsResponse(points=points, model=collection.model)

        return self.call("GetPoints", len(request.ids), context, answer)

    def ScrollPoints(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            collection = self.store.get(request.collection)
            if request.page_size < 0:
                raise invalid("INVALID_INPUT", "page_size must not be negative", "page_size")
            if request.page_token and not request.page_token.startswith(TOKEN):
                raise invalid("INVALID_INPUT", "no token of this server", "page_token")
            after = request.page_token.removeprefix(TOKEN).encode()
            points = collection.matching(request.filter if request.HasField("filter") else None)
            left = [point for point in points if point.id.encode() > after]
            size = min(request.page_size or 100, self.state.limits.max_page_size)
            response = collection_pb2.ScrollPointsResponse(model=collection.model)
            for point in left[:size]:
                message = point.message(
                    collection.model,
                    with_embeddings=request.with_embeddings,
                    with_sources=request.with_sources,
                )
                full = response.ByteSize() + message.ByteSize() > self.state.limits.max_message_bytes // 2
                if response.points and full:
                    break
                response.points.append(message)
            if len(response.points) < len(left):
                response.next_page_token = TOKEN + response.points[-1].id
            return response

        return self.call("ScrollPoints", 0, context, answer)

    def CountPoints(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            condition = request.filter if request.HasField("filter") else None
            count = len(self.store.get(request.collection).matching(condition))
            return collection_pb2.CountPointsResponse(count=count)

        return self.call("CountPoints", 0, context, answer)

    def GetThumbnail(self, request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            collection = self.store.get(request.collection)
            point = collection.points.get(request.id)
            if point is None and collection.request.keep_sources:
                raise Refused("NOT_FOUND", "POINT_NOT_FOUND", "no such point", "id")
            if point is None or "image_content" not in point.source:
                raise Refused("FAILED_PRECONDITION", "SOURCES_NOT_KEPT", "no picture is stored", "id")
            image, file = Image.open(io.BytesIO(point.source["image_content"])), io.BytesIO()
            image.thumbnail((request.max_side, request.max_side))
            image.convert("RGB").save(file, "JPEG")
            return collection_pb2.GetThumbnailResponse(
                jpeg=file.getvalue(), width=image.width, height=image.height
            )

        return self.call("GetThumbnail", 0, context, answer)

    def StartMigration(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.migrate(
            "Start", context, lambda: self.store.start_migration(request.collection, request.to_model)
        )

    def SwitchMigration(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.migrate(
            "Switch",
            context,
            lambda: self.store.switch(request.collection, request.without_failed, request.accept_dropped),
        )

    def RollBackMigration(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.migrate("RollBack", context, lambda: self.store.roll_back(request.collection))

    def EndMigration(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.migrate("End", context, lambda: self.store.end_migration(request.collection))

    def migrate(self, step: str, context: grpc.ServicerContext, do: Callable[[], FakeCollection]) -> Any:
        answer = getattr(collection_pb2, f"{step}MigrationResponse")
        return self.call(f"{step}Migration", 0, context, lambda: answer(collection=self.told(do())))
