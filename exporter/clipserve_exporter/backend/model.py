"""Serves the TorchScript file in the same folder in Triton's Python backend.

Used where the libtorch backend is not available. All requests of one call go through the model together. If
that fails, each request goes alone, so that only the faulty request is refused. Tensors are passed by DLPack,
without copies and without numpy, whose version could differ from the server's.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipserve_process import ENVIRONMENT, bound_memory, keep_memory, threads_of

# torch's libraries read the environment when they are loaded.
os.environ.update(ENVIRONMENT | os.environ)

import torch
import triton_python_backend_utils as pb_utils
from torch import Tensor

INPUT, OUTPUT = "INPUT__0", "OUTPUT__0"


class TritonPythonModel:
    """One instance of a tower, or of the model that returns the tokenizer."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Loads the model on the device that Triton assigned to this instance."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        gpu = args["model_instance_kind"] == "GPU" and torch.cuda.is_available()
        threads = threads_of(parameters.get("threads", "split"), config.get("instance_group", ()))
        # With a GPU, torch only joins rows on the CPU, which more threads make slower.
        torch.set_num_threads(1 if gpu else threads)
        self.device = torch.device(f"cuda:{args['model_instance_device_id']}" if gpu else "cpu")
        file = Path(args["model_repository"]) / args["model_version"] / "model.pt"
        self.model = torch.jit.load(str(file), map_location=self.device).eval()
        if not gpu:
            # After the weights are loaded: with weights in the kept heap ViT-B-32 is up to 25 % slower.
            keep_memory()
            if parameters["tower"] == "image":
                bound_memory(config["max_batch_size"])
        self.ragged = parameters.get("text_length") in ("ragged", "masked") and parameters["tower"] == "text"
        self.longest = int(parameters.get("context_length", 0))
        self.batches = config["max_batch_size"] > 0
        self.staging: Tensor | None = None
        if gpu and parameters["tower"] == "image":
            rows, shape = config["max_batch_size"], config["input"][0]["dims"]
            # A copy from page-locked memory to the device takes a sixth of the time.
            self.staging = torch.empty((rows, *map(int, shape)), dtype=torch.uint8, pin_memory=True)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Returns one response for each request."""
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
        """Returns the response to one request that is encoded alone."""
        try:
            return response(self.encode([tensor])[0])
        except Exception as error:
            return refusal(error)

    @torch.inference_mode()
    def encode(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Encodes the rows of each request, [b, …] → float32 [b, D]. A tokenizer's model takes no rows."""
        if not self.batches:
            return [self.model(tensor) for tensor in inputs]
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
        """Concatenates the rows. The next call may overwrite them, since this call is answered by then."""
        if self.staging is None:
            return torch.cat(list(inputs)) if len(inputs) > 1 else inputs[0]
        rows = sum(tensor.shape[0] for tensor in inputs)
        return torch.cat(list(inputs), out=self.staging[:rows])


def response(rows: Tensor) -> Any:
    """Makes a response of embeddings."""
    return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(OUTPUT, rows.contiguous())])


def refusal(error: Exception) -> Any:
    """Makes a response of an error: its last line, which holds the message in TorchScript's traces."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return pb_utils.InferenceResponse([], pb_utils.TritonError(lines[-1][:300]))
