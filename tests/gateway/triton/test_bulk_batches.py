"""Bulk work at a slow tower: few calls at a time, and small ones beside interactive work."""

from __future__ import annotations

import pytest
from clipserve_gateway.flow.lanes import BulkRoom
from clipserve_gateway.triton.bulk_batches import bulk_room
from clipserve_gateway.triton.client import tower_of
from clipserve_gateway.triton.model_config import bulk_batch_of
from clipserve_gateway.triton.parameters import TowerConfig
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2


def replica(instances: int, bulk_batch: int) -> TowerConfig:
    return TowerConfig("fake_image", 8, {}, instances, bulk_batch)


@pytest.mark.parametrize(
    ("towers", "alone", "beside"),
    [
        ([replica(1, 2)], BulkRoom(8, 8, 8), BulkRoom(2, 2, 1)),
        ([replica(3, 8)], BulkRoom(8, 24, 24), BulkRoom(8, 16, 2)),
        ([replica(2, 8), replica(1, 2)], BulkRoom(8, 24, 24), BulkRoom(2, 4, 2)),
        ([replica(4, 0)], None, None),
        ([replica(2, 8), replica(2, 0)], None, None),
        ([], None, None),
    ],
)
def test_beside_interactive_work_an_instance_stays_free_or_calls_are_small(towers, alone, beside):
    assert bulk_room(towers, 8, interactive=False) == alone
    assert bulk_room(towers, 8, interactive=True) == beside


def test_the_exporters_measurement_decides_how_small():
    assert bulk_batch_of({"bulk_batch": "3"}, 32, free=False) == 3
    assert bulk_batch_of({"bulk_batch": "64"}, 32, free=False) == 32
    assert bulk_batch_of({}, 32, free=False) == 0
    assert bulk_batch_of({}, 32, free=True) == 32


@pytest.mark.parametrize(
    ("kind", "instances", "parameters", "rows"),
    [
        ("KIND_CPU", 1, {"threads": "0"}, 0),
        ("KIND_CPU", 1, {"threads": "split", "bulk_batch": "5"}, 5),
        ("KIND_CPU", 2, {"threads": "split", "bulk_batch": "5"}, 16),
        ("KIND_CPU", 2, {"threads": "0"}, 16),
        ("KIND_CPU", 1, {"threads": "3"}, 0),
        ("KIND_GPU", 1, {"threads": "split"}, 0),
        ("KIND_CPU", 1, {}, 0),
    ],
)
def test_bulk_is_bounded_on_cpus_in_the_python_form(kind, instances, parameters, rows):
    group = {"kind": kind, "count": instances}
    values = {key: {"string_value": value} for key, value in parameters.items()}
    config = {"name": "a_image", "max_batch_size": 16, "instance_group": [group], "parameters": values}
    tower = tower_of(ParseDict({"config": config}, service_pb2.ModelConfigResponse()))
    assert (tower.instances, tower.bulk_batch) == (instances, rows)
