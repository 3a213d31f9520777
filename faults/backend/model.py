"""A tower for Triton's Python backend that takes as long, and goes as wrong, as a file tells it to.

The file is read at every execution, so a model's behavior changes without loading it again. Tensors pass by
DLPack: where Triton's stub converts NumPy arrays itself, NumPy 2 makes its outputs empty.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import answers
import numpy as np
import triton_python_backend_utils as pb_utils

INPUT, OUTPUT = "INPUT__0", "OUTPUT__0"


class TritonPythonModel:
    """One instance of a tower."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Reads which tower this is, and where its knobs are; then takes its time."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.encode = {"image": answers.of_images, "text": answers.of_texts}[value(parameters, "tower")]
        self.knobs = Path(value(parameters, "knobs"))
        time.sleep(json.loads(self.knobs.read_text())["load"])
        version = Path(args["model_repository"]) / args["model_version"]
        self.seed = int((version / "seed").read_text())

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response for each request, after the delay; it is of the execution, not of each item."""
        knobs = json.loads(self.knobs.read_text())
        time.sleep(knobs["delay"])
        return [self.response(request, knobs) for request in requests]

    def response(self, request: Any, knobs: dict[str, Any]) -> Any:
        """The right answer, or the wrong one that the knobs ask for."""
        batch = np.from_dlpack(pb_utils.get_input_tensor_by_name(request, INPUT))
        if knobs["mode"] == "error":
            return pb_utils.InferenceResponse([], pb_utils.TritonError("the model was told to fail"))
        rows = self.encode(batch, self.seed + (knobs["mode"] == "wrong"))
        if knobs["mode"] == "nan":
            rows[:] = np.nan
        elif knobs["mode"] == "shape":
            rows = rows[:, : answers.DIM // 2]
        poisoned = (batch == knobs["poison"]).reshape(len(batch), -1).any(axis=1)
        rows[poisoned] = np.nan
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(OUTPUT, np.ascontiguousarray(rows))])


def value(parameters: dict[str, Any], key: str) -> str:
    """A parameter of the model's configuration."""
    return str(parameters[key]["string_value"])
