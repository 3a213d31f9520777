"""What GetServerInfo tells of models and rules."""

from __future__ import annotations

import dataclasses

import pytest
from clipserve.v1 import common_pb2
from clipserve_gateway.convert.clip import write_server_info
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import AS_OPEN_CLIP, ImageRules, Preprocess

from testing.fakes import SPEC


@pytest.mark.parametrize(
    ("preprocess", "square"),
    [
        (Preprocess(224, 224), 224),
        (Preprocess(384, 512, "longest", "bilinear", 127), 0),
        (Preprocess(256, 256, "squash"), 256),
    ],
)
def test_a_models_preprocessing_is_told(preprocess, square):
    spec = dataclasses.replace(SPEC, preprocess=preprocess)
    info = write_server_info("1", [(spec, True)], "fake", Settings().limits, "memory", True, AS_OPEN_CLIP)
    [model] = info.models
    assert model.image_size == square
    told = (model.image_height, model.image_width, model.resize, model.interpolation)
    assert told == (preprocess.height, preprocess.width, preprocess.resize, preprocess.interpolation)


def test_the_dimensions_that_a_model_was_trained_for_are_told():
    spec = dataclasses.replace(SPEC, matryoshka_dims=(2, 4))
    info = write_server_info("1", [(spec, True)], "fake", Settings().limits, "memory", True, AS_OPEN_CLIP)
    assert list(info.models[0].matryoshka_dims) == [2, 4]


@pytest.mark.parametrize(
    ("rules", "written"),
    [
        (AS_OPEN_CLIP, common_pb2.ImageRules()),
        (ImageRules(True), common_pb2.ImageRules(apply_orientation=True)),
        (ImageRules(False, (255, 0, 10)), common_pb2.ImageRules(alpha_background="#ff000a")),
    ],
)
def test_the_servers_rules_are_told(rules, written):
    info = write_server_info("1", [], "", Settings().limits, "memory", True, rules)
    assert info.image_rules == written
