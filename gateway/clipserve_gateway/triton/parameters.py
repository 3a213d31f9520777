"""The configuration of one Triton model, and how its parameters are read."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

VERSION = "model_version"
"""The parameter with the version that a configuration describes."""
FIRST_FORM = "1"
"""The version of exports without that parameter."""


class BadModelConfig(ValueError):
    """A Triton model that is named like a tower and cannot be used as one."""


@dataclass(frozen=True)
class TowerConfig:
    """The configuration of one Triton model.

    Attributes:
        instances: how many run at the same time.
        bulk_batch: rows of a call of bulk work while there is interactive work; 0 for no limit.
        device: where Triton runs it, `cpu` or `cuda`; empty if not known.
        input_dims: shape of one input, -1 for any size; empty if not known.
        output_dims: shape of one output; empty if not known.
    """

    triton_name: str
    max_batch_size: int
    parameters: Mapping[str, str] = field(hash=False)
    instances: int = 1
    bulk_batch: int = 0
    device: str = ""
    input_dims: tuple[int, ...] = ()
    output_dims: tuple[int, ...] = ()

    @property
    def version(self) -> str:
        """The version that the parameters describe."""
        return self.parameters.get(VERSION, FIRST_FORM)


def required(tower: TowerConfig, key: str) -> str:
    """A parameter's value. Raises BadModelConfig if it is missing."""
    try:
        return tower.parameters[key]
    except KeyError:
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is missing") from None


def one_of(tower: TowerConfig, key: str, *values: str) -> str:
    """A parameter's value. Raises BadModelConfig if it is none of `values`."""
    if required(tower, key) not in values:
        value, known = tower.parameters[key][:80], " or ".join(map(repr, values))
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is {value!r}; this gateway knows {known}")
    return tower.parameters[key]


def finite_number(tower: TowerConfig, key: str) -> float:
    """A parameter's value. Raises BadModelConfig if it is not a finite number."""
    try:
        value = float(required(tower, key))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is not a finite number")
    return value


def whole_number(tower: TowerConfig, key: str, most: int, least: int = 0) -> int:
    """A parameter's value. Raises BadModelConfig if it is not a whole number from `least` to `most`."""
    value = finite_number(tower, key)
    if not least <= value <= most or value != int(value):
        raise BadModelConfig(
            f"{tower.triton_name}: parameter {key} is not a whole number from {least} to {most}"
        )
    return int(value)


def positive_int(tower: TowerConfig, key: str, most: int = 2**31 - 1) -> int:
    """A parameter's value. Raises BadModelConfig if it is not a whole number from 1 to `most`."""
    return whole_number(tower, key, most, least=1)


def check_shapes(tower: TowerConfig, keys: str, taken: tuple[int, ...], dim: int) -> None:
    """Raises BadModelConfig if Triton's inputs or outputs have other shapes than the parameters say.

    Args:
        keys: names of the parameters that say the shape of the input, which is `taken`.
    """
    for key, told, dims in ((keys, taken, tower.input_dims), ("embed_dim", (dim,), tower.output_dims)):
        if dims and dims != told:
            what = "gives" if key == "embed_dim" else "takes"
            raise BadModelConfig(
                f"{tower.triton_name}: by parameter {key} the tower {what} {list(told)}, and by its "
                f"configuration {list(dims)}"
            )


def from_base64(tower: TowerConfig, key: str) -> bytes:
    """A parameter's value, decoded. Raises BadModelConfig if it is not base64."""
    try:
        return base64.b64decode(required(tower, key), validate=True)
    except binascii.Error as error:
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is not base64") from error


def embedding_of(tower: TowerConfig, key: str, dim: int) -> bytes:
    """An embedding, float32 little-endian [dim]. Raises BadModelConfig if it has another length."""
    embedding = from_base64(tower, key)
    if len(embedding) != 4 * dim:
        size = len(embedding)
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} has {size} bytes, not {4 * dim}")
    return embedding
