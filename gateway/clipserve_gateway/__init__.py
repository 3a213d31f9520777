"""The gateway: gRPC in; embeddings, labels and search hits out. Models run in Triton, never here."""

from importlib.metadata import version

__version__ = version("clipserve")
