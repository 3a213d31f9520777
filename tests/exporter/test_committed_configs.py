"""The committed configurations of the demo model are what the exporter would write today.

To renew them: rm -rf model_repository/*/[0-9]* && clipserve-export --model demo --out model_repository
Then remove what Git does not need: rm -rf model_repository/*/[0-9]* model_repository/demo.*
"""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from clipserve_exporter.config import Serving, render
from clipserve_exporter.export import Order, facts_of
from clipserve_exporter.source import load
from clipserve_exporter.text_length import TextLength
from clipserve_exporter.versions import CONFIG, PARAMETER, policy_of, served_version
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

REPOSITORY = Path(__file__).parents[2] / "model_repository"
RENEW = "renew them: rm -rf model_repository/*/[0-9]* && clipserve-export --model demo --out model_repository"


def split(text: str) -> tuple[pb.ModelConfig, list[np.ndarray]]:
    """A configuration without its canary embeddings, and those: their last bits are the machine's own."""
    config = text_format.Parse(text, pb.ModelConfig())
    keys = ("canary_image_embedding", "canary_text_embedding")
    packed = [config.parameters.pop(key).string_value for key in keys]
    # So is the version, a hash of all that.
    config.parameters.pop(PARAMETER, None)
    config.ClearField("version_policy")
    return config, [np.frombuffer(base64.b64decode(text), "<f4") for text in packed]


@pytest.mark.parametrize("tower", ["image", "text"])
def test_the_demo_models_configuration_is_fresh(tower: str) -> None:
    order = Order("demo", "", "demo", "fp32", "libtorch", REPOSITORY, 0, Serving())
    fresh, fresh_embeddings = split(
        render(facts_of(load("demo"), order, TextLength("ragged")), order.serving, tower)
    )
    found, embeddings = split((REPOSITORY / f"demo_{tower}" / "config.pbtxt").read_text())
    assert found == fresh, RENEW
    for ours, theirs in zip(embeddings, fresh_embeddings, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=RENEW)


def test_the_committed_configurations_name_one_version_of_both_towers() -> None:
    image, text = ((REPOSITORY / f"demo_{tower}" / CONFIG).read_text() for tower in ("image", "text"))
    version = served_version(REPOSITORY / "demo_image")
    assert int(version) > 1
    assert policy_of(image) == policy_of(text) == [version]
    assert served_version(REPOSITORY / "demo_text") == version


def test_the_repository_holds_nothing_that_triton_would_take_for_a_model() -> None:
    assert {path.name for path in REPOSITORY.iterdir() if path.is_dir()} == {"demo_image", "demo_text"}
