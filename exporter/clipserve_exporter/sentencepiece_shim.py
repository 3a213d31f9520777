"""Lets transformers read sentencepiece models beside the protobuf runtime that gRPC's stubs need.

sentencepiece's own message classes require a newer runtime. transformers has the same classes for older ones,
but uses them only if sentencepiece is not installed.
"""

from __future__ import annotations

import importlib
import sys

OWN, OTHER = "sentencepiece.sentencepiece_model_pb2", "transformers.utils.sentencepiece_model_pb2_new"


def make_importable() -> None:
    """Makes `sentencepiece.sentencepiece_model_pb2` importable, once for the process."""
    from google.protobuf.runtime_version import VersionError

    try:
        importlib.import_module(OWN)
    except VersionError:
        sys.modules[OWN] = importlib.import_module(OTHER)
