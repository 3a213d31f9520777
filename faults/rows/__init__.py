"""The rows, one module for each family of faults."""

from faults.rows import callers, models, triton, wire

__all__ = ["callers", "models", "triton", "wire"]
