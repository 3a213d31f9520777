"""The rows, one module for each family of faults."""

from faults.rows import callers, disk, host, kill, milvus, models, overload, restarts, triton, wire

__all__ = ["callers", "disk", "host", "kill", "milvus", "models", "overload", "restarts", "triton", "wire"]
