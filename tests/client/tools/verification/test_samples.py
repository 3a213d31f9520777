"""The command's own pictures and texts."""

from __future__ import annotations

from clipserve.tools.verification.inputs import INPUTS, image_inputs, text_inputs
from clipserve.tools.verification.samples import long_text, picture_arrays, png, sample_texts


def test_samples_are_different_and_always_the_same():
    pictures = [png(array) for array in picture_arrays(INPUTS)]
    assert len(set(pictures)) == INPUTS
    assert pictures == [png(array) for array in picture_arrays(INPUTS)]
    assert len({array.shape for array in picture_arrays(INPUTS)}) > 5
    texts = sample_texts(INPUTS)
    assert len({text.lower() for text in texts}) == INPUTS


def test_a_long_text_has_more_words_than_the_context_has_tokens():
    for context in (1, 16, 77, 512):
        assert len(long_text(context).split()) > context


def test_there_are_as_many_inputs_as_one_pass_of_growing_requests_needs():
    assert sum(range(1, 9)) == INPUTS
    for inputs in (image_inputs(None), text_inputs(None, 77)):
        assert len(inputs.items) == INPUTS
        assert inputs.recorded == 0
