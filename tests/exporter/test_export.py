"""The export from end to end, on narrow models."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clipserve_exporter import export as export_module
from clipserve_exporter.config import Serving
from clipserve_exporter.errors import ExportError
from clipserve_exporter.export import STEPS, Order, export
from clipserve_exporter.versions import served_version
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from testing.tokenizers import build


@pytest.fixture
def order(tmp_path: Path, narrow_model: Callable[..., str]) -> Callable[..., Order]:
    """Makes orders for narrow models."""

    def make(architecture: dict | None = None, **changes: Any) -> Order:
        name = narrow_model(tmp_path / "narrow", **(architecture or {}))
        usual: dict[str, Any] = {
            "model": name,
            "pretrained": "",
            "name": "narrow",
            "precision": "fp32",
            "format": "python",
            "out": tmp_path / "models",
            "seed": 0,
            "serving": Serving(),
        }
        return Order(**usual | changes)

    return make


def read(path: Path) -> tuple[pb.ModelConfig, dict[str, str]]:
    config = text_format.Parse(path.read_text(), pb.ModelConfig())
    return config, {key: value.string_value for key, value in config.parameters.items()}


def test_an_export_answers_its_own_canary(order: Callable[..., Order]) -> None:
    steps: list[str] = []
    exported = export(order(), steps.append)
    assert tuple(steps) == tuple(name for name in STEPS if name != "trial")
    assert all(case.good for case in exported.cases)
    assert exported.random
    _, parameters = read(exported.folders[1] / "config.pbtxt")
    from open_clip import SimpleTokenizer

    tokens = SimpleTokenizer()([parameters["canary_text"]])[0]
    length = int(tokens.argmax()) + 1
    graph = torch.jit.load(exported.folders[1] / served_version(exported.folders[1]) / "model.pt")
    found = graph(tokens[:length].to(torch.int32), torch.tensor([[float(length)]]))[0]
    expected = np.frombuffer(base64.b64decode(parameters["canary_text_embedding"]), "<f4")
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_facts_come_from_the_model(order: Callable[..., Order]) -> None:
    exported = export(
        order(
            {
                "init_logit_bias": -10,
                "init_logit_scale": 2.0,
                "custom_text": True,
                "text_cfg": {"context_length": 32, "no_causal_mask": True},
            },
            name="sig",
            format="libtorch",
            precision="bf16",
            serving=Serving(image_batch=4),
        )
    )
    version = exported.folders[0] / served_version(exported.folders[0])
    assert [path.name for path in version.iterdir()] == ["model.pt"]
    config, parameters = read(exported.folders[0] / "config.pbtxt")
    assert (config.name, config.max_batch_size, config.platform) == ("sig_image", 4, "pytorch_libtorch")
    assert float(parameters["logit_scale"]) == pytest.approx(np.exp(2.0))
    assert float(parameters["logit_bias"]) == -10
    assert parameters["context_length"] == "32"
    assert parameters["text_length"] == "fixed"
    assert parameters["precision"] == "bf16"
    assert parameters["embed_dim"] == "32"
    assert parameters["pretrained"] == "random (seed 0)"
    assert parameters["torch_version"] == torch.__version__.split("+")[0]


def test_a_ragged_tower_can_be_exported_at_its_full_length(order: Callable[..., Order]) -> None:
    exported = export(order(fixed_text=True))
    config, parameters = read(exported.folders[1] / "config.pbtxt")
    assert parameters["text_length"] == "fixed"
    assert list(config.input[0].dims) == [77]
    assert export(order()).facts.fingerprint == exported.facts.fingerprint


def test_precision_and_format_are_not_part_of_the_fingerprint(order: Callable[..., Order]) -> None:
    exports = [
        export(order(precision=precision, format=form, out=order().out / precision))
        for precision, form in (("fp32", "python"), ("fp16", "libtorch"))
    ]
    assert len({exported.facts.fingerprint for exported in exports}) == 1
    versions = {served_version(folder) for exported in exports for folder in exported.folders}
    assert len(versions) == 2, "but they are of the version, which both towers have in common"


def test_the_configuration_says_which_version_it_describes(order: Callable[..., Order]) -> None:
    for folder in export(order()).folders:
        config, parameters = read(folder / "config.pbtxt")
        version = served_version(folder)
        assert parameters["model_version"] == version
        assert [str(number) for number in config.version_policy.specific.versions] == [version]


def test_a_graph_that_differs_from_open_clip_is_not_written(
    order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = order()
    export(first)
    before = (first.out / "narrow_text" / "config.pbtxt").read_text()
    real = export_module.export_text

    def wrong(source: Any, precision: str, handling: str) -> Any:
        source.model.ln_final.weight[0] = 9
        graph = real(source, precision, handling)
        source.model.ln_final.weight[0] = 1
        return graph

    monkeypatch.setattr(export_module, "export_text", wrong)
    with pytest.raises(ExportError, match=r"text tower differs .*fp32 requires at least 0\.99999"):
        export(order(seed=1))
    assert (first.out / "narrow_text" / "config.pbtxt").read_text() == before


def test_a_bad_name_is_refused_before_anything_is_loaded(order: Callable[..., Order]) -> None:
    with pytest.raises(ExportError, match="'a/b' is not a valid model name"):
        export(order(name="a/b"))


@pytest.mark.parametrize("name", ["shop_text", "shop_image", "shop_image_text", "shop_tokenizer"])
def test_a_name_that_ends_like_a_towers_is_refused(order: Callable[..., Order], name: str) -> None:
    with pytest.raises(ExportError, match="choose another name with --name"):
        export(order(name=name))
    assert not order().out.exists()


def golden_fingerprint(path: Path) -> str:
    with np.load(path) as archive:
        return json.loads(str(archive["facts"]))["fingerprint"]


def test_the_golden_file_is_beside_the_towers_where_triton_sees_no_model(order: Callable[..., Order]) -> None:
    exported = export(order())
    assert exported.golden == order().out / "narrow.golden.npz"
    assert golden_fingerprint(exported.golden) == exported.facts.fingerprint
    folders = {path.name for path in order().out.iterdir() if path.is_dir()}
    assert folders == {"narrow_image", "narrow_text"}


def test_a_new_export_replaces_the_golden_file(order: Callable[..., Order]) -> None:
    export(order())
    exported = export(order(seed=1))
    assert golden_fingerprint(exported.golden) == exported.facts.fingerprint


def test_a_tokenizer_of_hugging_face_is_a_third_model_until_the_name_no_longer_needs_it(
    order: Callable[..., Order], tmp_path: Path
) -> None:
    built = build("clipa", tmp_path / "tokenizer")
    text_cfg = built.text_cfg | {"hf_tokenizer_name": "bert-base-uncased"}
    folders = export(order({"text_cfg": text_cfg}, tokenizer=built.folder)).folders
    assert [folder.name for folder in folders] == ["narrow_image", "narrow_text", "narrow_tokenizer"]
    [version] = {served_version(folder) for folder in folders}
    _, text = read(folders[1] / "config.pbtxt")
    _, tokenizer = read(folders[2] / "config.pbtxt")
    assert tokenizer["tokenizer_sha256"] == text["tokenizer_sha256"]
    assert (text["strip_id"], text["text_clean"], text["pad_id"]) == ("3", "whitespace", "0")
    stored = torch.jit.load(folders[2] / version / "model.pt")(torch.zeros(1, dtype=torch.uint8))
    bundle = json.loads(gzip.decompress(stored.numpy().tobytes()))
    assert hashlib.sha256(bundle["tokenizer"].encode()).hexdigest() == text["tokenizer_sha256"]
    export(order())
    assert {path.name for path in (tmp_path / "models").iterdir() if path.is_dir()} == {
        "narrow_image", "narrow_text"
    }  # fmt: skip
