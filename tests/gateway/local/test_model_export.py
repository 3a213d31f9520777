"""`up --model`: the exporter's command line, its folder, and its end; with programs in its place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import pytest
from clipserve_gateway.local.model_export import (
    DEFAULT_REPOSITORY,
    ExportFailed,
    ModelOrder,
    export_model,
    order_of,
    repository_for,
)

NONE: dict[str, Any] = {
    **dict.fromkeys(("pretrained", "name", "tokenizer", "licenses", "license"), ""),
    **dict.fromkeys(("model", "device", "activation")),
    "random": False,
    "precision": "auto",
}


def test_options_of_a_model_become_those_of_the_exporter() -> None:
    options = NONE | {"model": "ViT-B-32", "pretrained": "a=b.pt", "device": "cpu", "port": 9000}
    order = order_of(options)
    assert options == {"port": 9000}, "others are left to the command"
    assert order is not None
    assert order.arguments(Path("/models")) == [
        *("--model=ViT-B-32", "--pretrained=a=b.pt", "--precision=auto", "--device=cpu"),
        *("--require-weights", "--format=python", "--reuse", "--out=/models"),
    ]


def test_random_weights_are_accepted_only_on_request() -> None:
    assert "--require-weights" not in ModelOrder("x", {}, random=True).arguments(Path("/m"))
    assert "--require-weights" in ModelOrder("x", {}).arguments(Path("/m"))


@pytest.mark.parametrize("extra", [{"pretrained": "x"}, {"random": True}, {"precision": "fp32"}])
def test_options_of_a_model_need_a_model(extra: dict[str, Any]) -> None:
    assert order_of(dict(NONE)) is None
    with pytest.raises(click.UsageError, match=f"--{next(iter(extra))} belongs to --model"):
        order_of(NONE | extra)


@pytest.mark.parametrize(
    ("model", "name", "folder"),
    [
        ("ViT-B-32", "", "ViT-B-32"),
        ("hf-hub:owner/Some-CLIP", "", "Some-CLIP"),
        ("./folder/My Model/", "", "My-Model"),
        ("ViT-B-32", "shop", "shop"),
        ("..", "", "model"),
    ],
)
def test_each_model_has_a_repository_of_its_own_in_the_data_folder(
    model: str, name: str, folder: str
) -> None:
    order = ModelOrder(model, {"name": name})
    assert repository_for(None, "/data", order) == Path("/data/models") / folder
    assert repository_for(Path("/given"), "/data", order) == Path("/given")


def test_without_a_model_the_repository_is_the_usual_one() -> None:
    assert repository_for(None, "s3://bucket", None) == DEFAULT_REPOSITORY
    with pytest.raises(click.UsageError, match="--model-repository"):
        repository_for(None, "s3://bucket", ModelOrder("x", {}))


def program(folder: Path, text: str) -> Path:
    """An environment whose exporter is a shell script."""
    path = folder / "bin" / "clipserve-export"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return folder


async def test_a_successful_export_is_followed_by_serving(tmp_path: Path) -> None:
    environment = program(tmp_path, f'echo "$@" > {tmp_path}/arguments')
    assert await export_model(ModelOrder("a b", {}), environment, tmp_path / "m", asyncio.Event())
    assert (tmp_path / "arguments").read_text().startswith("--model=a b --require-weights")


async def test_a_failed_export_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="ViT-B-32 was not exported; the reason is above"):
        await export_model(
            ModelOrder("ViT-B-32", {}), program(tmp_path, "exit 1"), tmp_path / "m", asyncio.Event()
        )


async def test_a_missing_exporter_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="clipserve-export is missing; run `make setup`"):
        await export_model(ModelOrder("x", {}), tmp_path, tmp_path / "m", asyncio.Event())


async def test_a_signal_ends_the_export(tmp_path: Path) -> None:
    stop = asyncio.Event()
    environment = program(tmp_path, f"trap 'touch {tmp_path}/ended; exit 1' TERM\ntouch {tmp_path}/begun\n"
                          "while :; do sleep 0.05; done")  # fmt: skip
    export = asyncio.create_task(export_model(ModelOrder("x", {}), environment, tmp_path / "m", stop))
    while not (tmp_path / "begun").exists():
        await asyncio.sleep(0.02)
    stop.set()
    assert not await export
    assert (tmp_path / "ended").exists()
