"""The model of the fault rows answers as its knobs say; Triton's stub never sees a NumPy array."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from faults.backend import answers
from faults.delay_model import BACKEND, Knobs

IDS = np.array([[49406, 7, 49407], [49406, 8, 49407]], np.int32)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """What the stub's tensors offer without NumPy; `as_numpy` and a NumPy array for an output are missing."""

    name: str
    array: Array

    @classmethod
    def from_dlpack(cls, name: str, rows: Array) -> Tensor:
        assert rows.flags.c_contiguous, "Triton takes only contiguous tensors"
        return cls(name, np.from_dlpack(rows))

    def __dlpack__(self) -> Any:
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


@dataclass(frozen=True)
class Response:
    """A stub's response: tensors, or an error."""

    tensors: list[Tensor]
    error: str | None = None


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The model's module, loaded as Triton loads it, with a stand-in for the stub."""
    stub = SimpleNamespace(
        Tensor=Tensor,
        InferenceResponse=Response,
        TritonError=str,
        get_input_tensor_by_name=lambda request, name: request[name],
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", stub)
    monkeypatch.setitem(sys.modules, "answers", answers)
    spec = importlib.util.spec_from_file_location("fault_model_under_test", BACKEND / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def execute(backend: ModuleType, folder: Path, ids: Array, **knobs: Any) -> Response:
    """The response of a text tower to one request."""
    file = folder / "knobs.json"
    file.write_text(json.dumps(dataclasses.asdict(Knobs(**knobs))))
    parameters = {"tower": {"string_value": "text"}, "knobs": {"string_value": str(file)}}
    (folder / "7").mkdir(exist_ok=True)
    (folder / "7" / "seed").write_text(str(knobs.get("seed", 0)))
    model = backend.TritonPythonModel()
    place = {"model_repository": str(folder), "model_version": "7"}
    model.initialize({"model_config": json.dumps({"parameters": parameters}), **place})
    (response,) = model.execute([{backend.INPUT: Tensor(backend.INPUT, ids)}])
    return response


def rows(response: Response) -> Array:
    """The one output of a response that is not an error."""
    assert response.error is None
    (tensor,) = response.tensors
    assert tensor.name == "OUTPUT__0"
    return tensor.array


def test_the_right_answer_is_that_of_the_input_and_the_seed(backend: ModuleType, tmp_path: Path) -> None:
    for seed in (0, 1):
        found = rows(execute(backend, tmp_path, IDS, seed=seed))
        np.testing.assert_array_equal(found, answers.of_texts(IDS, seed))


def test_each_mode_harms_the_answer_in_its_own_way(backend: ModuleType, tmp_path: Path) -> None:
    wrong = rows(execute(backend, tmp_path, IDS, mode="wrong"))
    np.testing.assert_array_equal(wrong, answers.of_texts(IDS, 1))
    assert np.isnan(rows(execute(backend, tmp_path, IDS, mode="nan"))).all()
    half = rows(execute(backend, tmp_path, IDS, mode="shape"))
    np.testing.assert_array_equal(half, answers.of_texts(IDS, 0)[:, : answers.DIM // 2])
    assert execute(backend, tmp_path, IDS, mode="error") == Response([], "the model was told to fail")


def test_a_poisoned_item_fails_alone(backend: ModuleType, tmp_path: Path) -> None:
    found = rows(execute(backend, tmp_path, IDS, poison=8))
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[0], answers.of_texts(IDS, 0)[0])
