"""Payloads of points, and arrays of embeddings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]

PayloadValue: TypeAlias = str | int | float | bool | dt.datetime | Sequence[str]
"""Datetimes must have a time zone and are returned in UTC. Sequences of strings are returned as lists."""
Payload: TypeAlias = Mapping[str, PayloadValue]
