"""The rows, one module for each family of faults."""

from faults.rows import callers, engines, host, kill, models, overload, restarts, triton, wire

__all__ = ["callers", "engines", "host", "kill", "models", "overload", "restarts", "triton", "wire"]
