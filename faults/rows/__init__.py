"""The rows, one module for each family of faults."""

from faults.rows import (
    answers,
    backup,
    callers,
    disk,
    host,
    kill,
    migration,
    milvus,
    models,
    overload,
    power,
    restarts,
    store,
    swap,
    triton,
    wire,
)

__all__ = [
    "answers",
    "backup",
    "callers",
    "disk",
    "host",
    "kill",
    "migration",
    "milvus",
    "models",
    "overload",
    "power",
    "restarts",
    "store",
    "swap",
    "triton",
    "wire",
]
