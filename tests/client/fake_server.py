"""A small clipserve server in this process: it follows the rules of the protos, but has no model.

Embeddings are deterministic, so equal inputs have equal embeddings and different inputs different ones. Tests
script errors and delays: see `FakeServer.script`.
"""

from __future__ import annotations

from collections import deque
from concurrent import futures

import grpc
from client.fake_base import Refused, Seen, State
from client.fake_clip import FakeClip
from client.fake_collections import FakeCollections
from client.fake_labels import FakeLabelSets, LabelSetStore
from client.fake_points import FakeStore
from clipserve.v1 import clip_pb2, clip_pb2_grpc, collection_pb2_grpc, labels_pb2_grpc

from testing.certificates import Pair

__all__ = ["FakeServer", "Refused"]

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
    "max_page_size": 7,
    "max_label_bytes": 4096,
    "max_filter_bytes": 256 * 1024,
    "max_held_bytes": 1024 * 1024 * 1024,
    "max_calls_per_caller": 1024,
    "max_streams_per_caller": 256,
    "max_json_bytes": 16 * 1024 * 1024,
}


class FakeServer:
    """Listens on a free port of 127.0.0.1 until `stop`.

    Attributes:
        address: HOST:PORT.
        state: the calls that arrived, and the script.
        store: the collections. Tests can stop their migrations.
    """

    def __init__(self, tls: Pair | None = None, **limits: int) -> None:
        self.tls = tls
        self.state = State(clip_pb2.Limits(**(DEFAULT_LIMITS | limits)))
        self.store = FakeStore(self.state)
        self.label_sets = LabelSetStore()
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listens; after a stop, on the same port again."""
        self._server = grpc.server(
            futures.ThreadPoolExecutor(16),
            options=[
                ("grpc.max_receive_message_length", self.state.limits.max_message_bytes),
                ("grpc.max_send_message_length", self.state.limits.max_message_bytes),
                ("grpc.so_reuseport", 0),
            ],
        )
        clip_pb2_grpc.add_ClipServiceServicer_to_server(
            FakeClip(self.state, self.store, self.label_sets), self._server
        )
        collection_pb2_grpc.add_CollectionServiceServicer_to_server(
            FakeCollections(self.state, self.store), self._server
        )
        labels_pb2_grpc.add_LabelSetServiceServicer_to_server(
            FakeLabelSets(self.state, self.label_sets), self._server
        )
        address = f"127.0.0.1:{self.port}"
        if self.tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            pair = self.tls.key, self.tls.certificate
            self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def stop(self) -> None:
        """Stops immediately."""
        self._server.stop(0).wait()

    def script(self, method: str, *steps: Refused | float) -> None:
        """Sets a step for each of the next calls of a method: an error, or a delay in seconds."""
        self.state.script[method] = deque(steps)

    def seen(self, method: str) -> list[Seen]:
        """The calls of a method that arrived."""
        return [call for call in self.state.calls if call.method == method]
