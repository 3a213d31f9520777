from __future__ import annotations

import collections
import os
import pickle
import subprocess

import numpy as np
import pytest
from clipserve.evaluation.dataset import DatasetError
from clipserve.evaluation.unpickle import load_plain
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

numbers = arrays.arrays(
    st.sampled_from([np.uint8, np.int64, np.float32, np.dtype(">i4"), np.bool_]),
    arrays.array_shapes(max_dims=3, max_side=4, min_side=0),
)


@given(numbers, st.integers(2, pickle.HIGHEST_PROTOCOL), st.booleans())
def test_arrays_of_any_protocol_come_back(array, protocol, fortran):
    array = np.asfortranarray(array) if fortran else array
    found = load_plain(pickle.dumps({"data": [array]}, protocol))["data"][0]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    ),
    st.integers(2, pickle.HIGHEST_PROTOCOL),
)
def test_plain_data_comes_back(value, protocol):
    assert load_plain(pickle.dumps(value, protocol)) == value


def test_the_pickles_of_python_2_are_read():
    # What cPickle of Python 2 wrote for {'labels': [6], 'data': array of uint8 [1, 2]}.
    old = (
        b"(dp1\nS'labels'\np2\n(lp3\nI6\nasS'data'\np4\ncnumpy.core.multiarray\n_reconstruct\np5\n"
        b"(cnumpy\nndarray\np6\n(I0\ntp7\nS'b'\np8\ntp9\nRp10\n(I1\n(I1\nI2\ntp11\ncnumpy\ndtype\np12\n"
        b"(S'u1'\np13\nI0\nI1\ntp14\nRp15\n(I3\nS'|'\np16\nNNNI-1\nI-1\nI0\ntp17\nbI00\n"
        b"S'\\x07\\xff'\np18\ntp19\nbs."
    )
    found = load_plain(old)
    assert found[b"labels"] == [6]
    np.testing.assert_array_equal(found[b"data"], np.array([[7, 255]], np.uint8))


class Evil:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "evil",
    [
        Evil(os.system, "touch /tmp/clipserve-was-here"),
        Evil(subprocess.check_output, ["true"]),
        Evil(eval, "1+1"),
        Evil(getattr, "x", "upper"),
        Evil(np.load, "x.npy"),
        collections.OrderedDict(a=1),
        np.float64(1.5),
        os.system,
    ],
)
def test_nothing_that_a_pickle_names_is_run(evil):
    with pytest.raises(DatasetError, match=r"which no data set needs; it was not run|malformed|readable"):
        load_plain(pickle.dumps({"data": evil}))
    assert not os.path.exists("/tmp/clipserve-was-here")


def test_arrays_of_objects_are_refused():
    with pytest.raises(DatasetError, match=r"type '\|O8' is not read"):
        load_plain(pickle.dumps(np.array(["a", None], object), 2))


@given(st.binary(max_size=200))
def test_junk_is_no_pickle(junk):
    try:
        load_plain(junk)
    except DatasetError:
        return


@given(st.integers(2, 5), st.data())
def test_damaged_pickles_are_refused_or_read_but_never_crash(protocol, data):
    whole = pickle.dumps({"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [1, 2, 3]}, protocol)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    try:
        load_plain(damaged)
    except DatasetError:
        return
