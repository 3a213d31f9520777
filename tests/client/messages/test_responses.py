from __future__ import annotations

from clipserve.messages.responses import read_model_info
from clipserve.v1 import clip_pb2


def test_the_dimensions_that_a_model_was_trained_for_are_read():
    assert read_model_info(clip_pb2.ModelInfo(matryoshka_dims=[64, 128])).matryoshka_dims == (64, 128)
    assert read_model_info(clip_pb2.ModelInfo()).matryoshka_dims == ()
