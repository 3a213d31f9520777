"""Several models in one repository: they come, change and go while others are called; bad ones harm none."""

from __future__ import annotations

import re
import shutil
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import clipserve
import numpy as np
import pytest

from faults.delay_model import DelayModel, facts_of, right_texts
from faults.watch import wait_until
from testing.service import Service, start

POLL = 5.0
"""Seconds between two looks of Triton at its repository."""
SLOW = 30.0
"""Seconds that loading a model may take beside that."""


def pages(service: Service) -> dict[str, str]:
    """What the page /models says of each model."""
    with urllib.request.urlopen(f"{service.http}/models", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return dict(line.split(" ", 1) for line in lines)


def series(service: Service, model: str) -> list[str]:
    with urllib.request.urlopen(f"{service.http}/metrics", timeout=10) as answer:
        return [line for line in answer.read().decode().splitlines() if f'model="{model}"' in line]


def edit(
    repository: Path, name: str, *changes: tuple[str, str], towers: tuple[str, ...] = ("image", "text")
) -> None:
    """Changes the configurations of a model."""
    for tower in towers:
        file = repository / f"{name}_{tower}" / "config.pbtxt"
        text = file.read_text()
        for pattern, new in changes:
            text, count = re.subn(pattern, new, text, count=1)
            assert count == 1, pattern
        file.write_text(text)


def parameter(key: str, value: str) -> tuple[str, str]:
    return rf'(key: "{key}" value {{ string_value: )"[^"]*"', rf'\g<1>"{value}"'


@pytest.mark.slow
def test_each_bad_model_is_refused_with_a_sentence_and_the_good_one_serves(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    bad = ("half", "lies-dim", "lies-name", "lies-size", "lies-version", "nan", "not-numbers", "other-folder")
    models = {name: DelayModel(tmp_path / "made", name) for name in (*bad, "good")}
    repository = models["good"].repository
    edit(repository, "lies-dim", parameter("embed_dim", "512"))
    edit(repository, "lies-size", parameter("image_height", "64"), towers=("image",))
    edit(repository, "lies-name", parameter("model", "good"))
    edit(repository, "lies-version", parameter("model_version", "7"))
    edit(repository, "not-numbers", parameter("canary_text_embedding", "!"), towers=("image",))
    edit(
        repository, "other-folder", (r'name: "other-folder_text"', 'name: "elsewhere_text"'), towers=("text",)
    )
    models["nan"].turn(mode="nan")
    shutil.rmtree(repository / "half_text")
    service = start(tmp_path, repository=repository)
    try:
        with clipserve.Client(service.address, retry=None) as client:
            texts = ["a dog", "a cat"]
            found = client.embed_texts(texts, model="good").embeddings
            assert found.tobytes() == right_texts(texts).tobytes()
            for name in bad:
                with pytest.raises((clipserve.Unavailable, clipserve.NotFound), match=name):
                    client.embed_texts(["a"], model=name)
            assert [model.name for model in client.info().models if model.ready] == ["good"]
        told = pages(service)
        assert told.pop("good") == "ready"
        reasons = {name: text.partition(f"replica {service.triton}: ")[2] for name, text in told.items()}
        assert reasons == {
            "half": "the repository has no half_text",
            "lies-dim": "lies-dim_image: by parameter embed_dim the tower gives [512], and by its "
            "configuration [64]",
            "lies-name": "lies-name_image: parameter model is 'good'; this gateway knows 'lies-name'",
            "lies-size": "lies-size_image: by parameter image_height the tower takes [64, 32, 3], and by its "
            "configuration [32, 32, 3]",
            "lies-version": reasons["lies-version"],
            "nan": "it answers wrong: nan_image: the answer's length is nan",
            "not-numbers": "not-numbers_image: parameter canary_text_embedding is not base64",
            "other-folder": "Triton has not loaded it; Triton's log says whether it still loads",
        }
        assert "describes version 7" in reasons["lies-version"]
    finally:
        assert service.stop() == 0


class Callers:
    """Threads that call models by name until they are stopped, and count what the SDK raises."""

    def __init__(self, address: str, *models: str) -> None:
        self.codes: dict[str, Counter[str]] = {model: Counter() for model in models}
        self.wrong: Counter[str] = Counter()
        self._stop = threading.Event()
        self._address = address
        self._threads = [threading.Thread(target=self._call, args=(model,)) for model in models]
        for thread in self._threads:
            thread.start()

    def _call(self, model: str) -> None:
        right = {facts_of(model, seed).fingerprint: right_texts(["a dog"], seed)[0] for seed in (0, 1)}
        with clipserve.Client(self._address) as client:
            while not self._stop.is_set():
                try:
                    answer = client.embed_texts(["a dog"], model=model)
                    assert answer.model is not None
                    self.wrong[model] += not np.array_equal(
                        answer.embeddings[0], right[answer.model.fingerprint]
                    )
                    self.codes[model]["OK"] += 1
                except clipserve.ClipserveError as error:
                    self.codes[model][type(error).__name__] += 1
                time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def soon(happens: Callable[[], bool]) -> bool:
    """Whether it happens within one look of Triton and the time of a load."""
    return wait_until(happens, POLL + SLOW) < POLL + SLOW


@pytest.mark.slow
def test_models_come_change_and_go_while_others_are_called(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    stays, changes = (DelayModel(tmp_path / "made", name) for name in ("stays", "changes"))
    service = start(tmp_path, "--default-model", "stays", repository=stays.repository)
    callers = Callers(service.address, "stays", "changes", "guest")
    try:
        with clipserve.Client(service.address) as client:

            def ready(name: str) -> bool:
                return any(model.name == name and model.ready for model in client.info().models)

            guest = DelayModel(tmp_path / "made", "guest")
            assert soon(lambda: ready("guest"))
            assert client.info().default_model == "stays"
            fingerprint = changes.export(1)
            assert soon(
                lambda: client.embed_texts(["a"], model="changes").model.fingerprint == fingerprint  # type: ignore[union-attr]
            )
            guest.remove()
            assert soon(lambda: "guest" not in pages(service))
            with pytest.raises(clipserve.NotFound, match="no model 'guest'"):
                client.embed_texts(["a"], model="guest")
            # A copy of a model that takes its time.
            (tmp_path / "elsewhere").mkdir()
            half = DelayModel(tmp_path / "elsewhere", "half")
            shutil.copytree(half.repository / "half_image", stays.repository / "half_image")
            assert soon(lambda: "the repository has no half_text" in pages(service).get("half", ""))
            (stays.repository / "half_text").mkdir()
            time.sleep(POLL + 1)
            shutil.copytree(half.repository / "half_text", stays.repository / "half_text", dirs_exist_ok=True)
            assert soon(lambda: ready("half"))
    finally:
        callers.stop()
        code = service.stop()
    assert code == 0
    assert callers.codes["stays"].keys() == callers.codes["changes"].keys() == {"OK"}
    # Before, between and after; while it loads, a call may wait longer than the SDK's retries.
    assert callers.codes["guest"].keys() - {"ModelUnavailable"} == {"ModelNotFound", "OK"}
    assert not callers.wrong.total()
