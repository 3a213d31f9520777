"""How often Triton is asked for the configurations of its models: when they may have changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import grpc
import pytest
from clipserve_gateway import errors
from clipserve_gateway.triton import client
from clipserve_gateway.triton.client import TritonEncoder
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2, service_pb2_grpc


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A Triton that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.versions = ["1"]
        self.state = "READY"
        self.color = "red"

    async def RepositoryIndex(self, request, context):
        self.asked["index"] += 1
        if self.state == "GONE":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "shutting down")
        models = [
            service_pb2.RepositoryIndexResponse.ModelIndex(name="demo_text", version=it, state=self.state)
            for it in self.versions
        ]
        return service_pb2.RepositoryIndexResponse(models=models)

    async def ModelConfig(self, request, context):
        self.asked["config"] += 1
        answer = service_pb2.ModelConfigResponse()
        answer.config.name = request.name
        answer.config.parameters["color"].string_value = self.color
        return answer


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
async def encoder(servicer: Servicer) -> AsyncIterator[TritonEncoder]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    encoder = TritonEncoder(f"127.0.0.1:{port}")
    yield encoder
    await encoder.close()
    await server.stop(None)


async def color(encoder: TritonEncoder) -> str:
    """As one look at Triton finds it."""
    await encoder.repository_index(5.0)
    (tower,) = await encoder.towers(["demo_text"], 5.0)
    return tower.parameters["color"]


async def test_a_configuration_is_asked_for_once_while_nothing_changes(encoder, servicer) -> None:
    for _ in range(5):
        assert await color(encoder) == "red"
    assert servicer.asked == {"index": 5, "config": 1}


async def test_a_new_version_is_seen_at_the_next_look(encoder, servicer) -> None:
    assert await color(encoder) == "red"
    servicer.versions, servicer.color = ["1", "2"], "blue"
    assert await color(encoder) == "blue"


async def test_a_reload_is_seen_at_the_next_look(encoder, servicer) -> None:
    assert await color(encoder) == "red"
    servicer.state, servicer.color = "UNAVAILABLE", "blue"
    assert await color(encoder) == "blue"


async def test_what_was_read_of_a_triton_that_went_is_forgotten(encoder, servicer) -> None:
    assert await color(encoder) == "red"
    servicer.state = "GONE"
    with pytest.raises(errors.ServerUnavailable):
        await color(encoder)
    servicer.state, servicer.color = "READY", "blue"
    assert await color(encoder) == "blue"


async def test_a_change_in_place_is_seen_after_a_while(encoder, servicer, monkeypatch) -> None:
    assert await color(encoder) == "red"
    servicer.color = "blue"
    assert await color(encoder) == "red"
    monkeypatch.setattr(client, "CONFIG_SECONDS", 0.0)
    assert await color(encoder) == "blue"


@pytest.mark.parametrize(("kind", "device"), [("KIND_CPU", "cpu"), ("KIND_GPU", "cuda"), ("KIND_AUTO", "")])
def test_a_configuration_says_the_device_and_the_shapes(kind: str, device: str) -> None:
    config = {
        "name": "demo_image",
        "instance_group": [{"count": 1, "kind": kind}],
        "input": [{"name": "INPUT__0", "dims": [32, 32, 3]}],
        "output": [{"name": "OUTPUT__0", "dims": [8]}],
    }
    tower = client.tower_of(ParseDict({"config": config}, service_pb2.ModelConfigResponse()))
    assert (tower.device, tower.input_dims, tower.output_dims) == (device, (32, 32, 3), (8,))
