"""Reading the inputs of golden files."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from clipserve_gateway.verification.golden import GoldenError, read_golden

from testing.fakes import SPEC
from testing.golden_files import TEXTS, golden_entries, pictures, write_golden

RIGHT = golden_entries()


def test_it_has_inputs_and_how_they_are_made(tmp_path):
    golden = read_golden(write_golden(tmp_path / "a.npz"))
    assert golden.model == SPEC.name
    assert golden.fingerprint == SPEC.fingerprint
    assert golden.preprocess == SPEC.preprocess
    assert golden.tokenizer == SPEC.tokenizer
    assert {picture.name: picture.content for picture in golden.pictures} == pictures()
    assert tuple(text.text for text in golden.texts) == TEXTS
    assert [text.truncated for text in golden.texts] == [False, False, True]


@pytest.mark.parametrize("entry", sorted(RIGHT))
def test_a_missing_entry_is_named(tmp_path, entry):
    entries = golden_entries()
    del entries[entry]
    with pytest.raises(GoldenError, match=f"it lacks '{entry}'"):
        read_golden(write_golden(tmp_path / "a.npz", entries))


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize(
    "changes",
    [
        {"image_sizes": RIGHT["image_sizes"] + 1},
        {"image_sizes": np.array([-5, 1])},
        {"ids": RIGHT["ids"][:, :-1]},
        {"ids": RIGHT["ids"].astype(float)},
        {"truncated": RIGHT["truncated"][:-1]},
        {"pixel_sha256": RIGHT["pixel_sha256"][:-1]},
        {"facts": np.array("{")},
        {"facts": np.array("[]")},
        {"facts": np.array("[" * 100_000)},
        {"facts": np.array([print], object)},
        {"facts": np.array('{"format": 1}')},
        {"facts": golden_entries(format=2)["facts"]},
    ],
)
def test_what_does_not_fit_together_is_refused_with_what_to_do(tmp_path, changes):
    path = write_golden(tmp_path / "a.npz", RIGHT | changes)
    with pytest.raises(GoldenError, match=r"is not a golden file: .*clipserve-export writes one"):
        read_golden(path)


def test_a_file_that_grows_too_large_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("facts.npy", bytes(70 * 1024 * 1024))
    with pytest.raises(GoldenError, match="it holds 73,400,320 bytes"):
        read_golden(path)
