"""Serves the TorchScript file beside it in Triton's Python backend.

Used where the libtorch backend is not at hand. All requests of one call go through the model together;
where that fails, each goes alone, so that only the one at fault is refused. Tensors pass by DLPack: no
copies, and no numpy whose version could differ from the server's.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipserve_process import ENVIRONMENT, bound_memory, keep_memory

# Before torch is imported.
os.environ.update(ENVIRONMENT | os.environ)

import torch
import triton_python_backend_utils as pb_utils
from clipserve_cores import SharedCores, granted_cores, threads_of
from torch import Tensor

INPUT, OUTPUT = "INPUT__0", "OUTPUT__0"


class TritonPythonModel:
    """One instance of a tower."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Loads the model on the device that this instance was given."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        gpu = args["model_instance_kind"] == "GPU" and torch.cuda.is_available()
        threads = threads_of(parameters.get("threads", "0"), config.get("instance_group", ()))
        self.cores = None if gpu or threads else SharedCores(granted_cores())
        # Beside a GPU torch only joins rows, which more threads make slower.
        torch.set_num_threads(self.cores.cores if self.cores else 1 if gpu else threads)
        self.device = torch.device(f"cuda:{args['model_instance_device_id']}" if gpu else "cpu")
        file = Path(args["model_repository"]) / args["model_version"] / "model.pt"
        self.model = torch.jit.load(str(file), map_location=self.device).eval()
        if not gpu:
            # After the weights, which are better off in mappings of their own.
            keep_memory()
            if parameters["tower"] == "image":
                bound_memory(config["max_batch_size"])
        self.ragged = parameters.get("text_length") == "ragged" and parameters["tower"] == "text"
        self.longest = int(parameters["context_length"])
        self.staging: Tensor | None = None
        if gpu and parameters["tower"] == "image":
            side, rows = int(parameters["image_size"]), config["max_batch_size"]
            # From page-locked memory a copy to the device takes a sixth of the time.
            self.staging = torch.empty((rows, side, side, 3), dtype=torch.uint8, pin_memory=True)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response for each request."""
        if self.cores is None:
            return self.responses(requests)
        with self.cores.at_work() as threads:
            if threads != torch.get_num_threads():
                torch.set_num_threads(threads)
            return self.responses(requests)

    def responses(self, requests: Sequence[Any]) -> list[Any]:
        """One response for each request, by torch's present number of threads."""
        inputs = [
            torch.from_dlpack(pb_utils.get_input_tensor_by_name(request, INPUT).to_dlpack())
            for request in requests
        ]
        try:
            return [response(rows) for rows in self.encode(inputs)]
        except Exception as error:
            if len(inputs) == 1:
                return [refusal(error)]
        return [self.alone(one) for one in inputs]

    def alone(self, tensor: Tensor) -> Any:
        """The response to one request."""
        try:
            return response(self.encode([tensor])[0])
        except Exception as error:
            return refusal(error)

    @torch.inference_mode()
    def encode(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """[b, …] of each request → float32 [b, D] of each request."""
        if self.ragged:
            flat = torch.cat([tensor.reshape(-1) for tensor in inputs])
            lengths = [float(tensor.shape[1]) for tensor in inputs for _ in range(tensor.shape[0])]
            if not all(1 <= length <= self.longest for length in lengths):
                raise ValueError(f"texts have 1 to {self.longest} tokens, not {int(max(lengths))}")
            outputs = self.model(
                flat.to(self.device), torch.tensor(lengths, device=self.device).reshape(-1, 1)
            )
        else:
            outputs = self.model(self.joined(inputs).to(self.device))
        return list(outputs.cpu().split([tensor.shape[0] for tensor in inputs]))

    def joined(self, inputs: Sequence[Tensor]) -> Tensor:
        """All rows below each other. The next call may write over them: this one has its answer by then."""
        if self.staging is None:
            return torch.cat(list(inputs)) if len(inputs) > 1 else inputs[0]
        rows = sum(tensor.shape[0] for tensor in inputs)
        return torch.cat(list(inputs), out=self.staging[:rows])


def response(rows: Tensor) -> Any:
    """Embeddings as a response."""
    return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(OUTPUT, rows.contiguous())])


def refusal(error: Exception) -> Any:
    """An error as a response: its last line, which in TorchScript's traces says what happened."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return pb_utils.InferenceResponse([], pb_utils.TritonError(lines[-1][:300]))
