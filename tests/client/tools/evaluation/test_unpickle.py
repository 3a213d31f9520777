from __future__ import annotations

import collections
import contextlib
import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from clipserve.tools.evaluation.cifar import file_samples
from clipserve.tools.evaluation.cifar_batches import batch_samples
from clipserve.tools.evaluation.cifar_sets import CIFAR10
from clipserve.tools.evaluation.dataset import DatasetError
from clipserve.tools.evaluation.unpickle import ALLOWED, load_plain
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
    loaded = load_plain(pickle.dumps({"data": [array]}, protocol))["data"][0]
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    ),
    st.integers(2, pickle.HIGHEST_PROTOCOL),
)
def test_plain_data_comes_back(value, protocol):
    assert load_plain(pickle.dumps(value, protocol)) == value


@given(
    st.sampled_from([np.int64, np.uint8, np.int16, np.bool_, np.float32, np.dtype(">i8").type]),
    st.integers(0, 1),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_numbers_of_numpy_become_plain_ones(kind, value, protocol):
    [number] = load_plain(pickle.dumps([kind(value)], protocol))
    assert (number, type(number)) == (kind(value).item(), type(kind(value).item()))


def test_a_number_of_numpy_that_is_malformed_says_so():
    content = pickle.dumps(np.int64(7), 5)
    for broken in (
        content.replace(b"i8", b"i4"),
        content.replace(b"i8", b"O8"),
        content.replace(b"i8", b"U2"),
    ):
        with pytest.raises(DatasetError, match=r"malformed|is not read"):
            load_plain(broken)


def test_the_pickles_of_python_2_are_read():
    # What cPickle of Python 2 wrote for {'labels': [6], 'data': array of uint8 [1, 2]}.
    old = (
        b"(dp1\nS'labels'\np2\n(lp3\nI6\nasS'data'\np4\ncnumpy.core.multiarray\n_reconstruct\np5\n"
        b"(cnumpy\nndarray\np6\n(I0\ntp7\nS'b'\np8\ntp9\nRp10\n(I1\n(I1\nI2\ntp11\ncnumpy\ndtype\np12\n"
        b"(S'u1'\np13\nI0\nI1\ntp14\nRp15\n(I3\nS'|'\np16\nNNNI-1\nI-1\nI0\ntp17\nbI00\n"
        b"S'\\x07\\xff'\np18\ntp19\nbs."
    )
    loaded = load_plain(old)
    assert loaded[b"labels"] == [6]
    np.testing.assert_array_equal(loaded[b"data"], np.array([[7, 255]], np.uint8))


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


def sized(form: str, opcode: bytes, content: bytes) -> bytes:
    return opcode + struct.pack(form, len(content)) + content


NAMED = [f"c{module}\n{name}\n".encode() for module, name in ALLOWED]
MEMO = st.sampled_from([0, 1, 2, 255, 256, 65_536, 2**31, 2**32 - 1])
CONTENT = st.binary(max_size=12)
STEPS_OF_PICKLES = st.one_of(
    st.sampled_from(
        [b"N", b"]", b"}", b")", b"(", b"0", b"1", b"2", b"a", b"e", b"l", b"t", b"s", b"u", b"d"]
    ),
    st.sampled_from([b"\x85", b"\x86", b"\x87", b"\x94", b"R", b"b", b"\x88", b"\x93", *NAMED]),
    st.builds(lambda index: b"r" + struct.pack("<I", index), MEMO),
    st.builds(lambda index: b"j" + struct.pack("<I", index), MEMO),
    st.builds(lambda index: f"p{index}\n".encode(), MEMO),
    st.builds(lambda index: f"g{index}\n".encode(), MEMO),
    st.builds(lambda number: b"J" + struct.pack("<i", number), st.integers(-(2**31), 2**31 - 1)),
    st.builds(lambda content: sized("<B", b"\x8a", content), CONTENT),
    st.builds(lambda content: sized("<I", b"B", content), CONTENT),
    st.builds(lambda content: sized("<I", b"X", content), CONTENT),
    st.builds(lambda size: b"\x8e" + struct.pack("<Q", size), st.sampled_from([0, 1, 2**40, 2**63])),
    st.builds(lambda size: b"\x95" + struct.pack("<Q", size), st.sampled_from([0, 1, 2**40, 2**63])),
)
"""Each is one step of the machine, sound in itself."""
MEMORY_PER_BYTE, MEMORY_AT_LEAST = 400, 200_000


@given(st.lists(STEPS_OF_PICKLES, max_size=60), st.sampled_from([1, 1, 1, 40]))
def test_steps_in_any_order_take_memory_by_their_own_size(steps, times):
    content = b"\x80\x04" + b"".join(steps) * times + b"."
    tracemalloc.start()
    try:
        load_plain(content)
    except DatasetError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MEMORY_AT_LEAST + MEMORY_PER_BYTE * len(content)


@given(
    st.sampled_from([b"]", b"}", b"("]),
    st.integers(1, 3_000),
    st.sampled_from([b"a", b"s", b"l", b"d", b"\x85"]),
)
def test_nesting_of_any_depth_ends_without_recursion(opened, depth, closed):
    with contextlib.suppress(DatasetError):
        load_plain(b"\x80\x02" + opened * depth + closed * (depth - 1) + b".")


MEGABYTE = 1024 * 1024


def laughs(depth: int) -> bytes:
    """A list of ten times a list of ten times …, in a few bytes."""
    nested: list[object] = [0]
    for _ in range(depth):
        nested = [nested] * 10
    return pickle.dumps(nested, 2)


def many_times(step: bytes, count: int, before: bytes = b"", after: bytes = b".") -> bytes:
    return b"\x80\x04" + before + step * count + after


HUGE = struct.pack("<Q", 2**62)
DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1K\x00K\x01tR"
BOMBS = {
    "memo index": b"\x80\x02Nr" + struct.pack("<I", 150_000_000) + b".",
    "memo index as text": b"Np4000000000\n.",
    "laughs": laughs(30),
    "deep lists": many_times(b"]", 200_000, after=b"a" * 199_999 + b"."),
    "deep tuples": many_times(b"\x85", 200_000, before=b"N"),
    "tuples of tuples as a key": many_times(b"2\x86", 60, before=b"}N", after=b"Ns."),
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "equal hashes": b"\x80\x02}("
    + b"".join(pickle.dumps(i * (2**61 - 1), 2)[2:-1] + b"N" for i in range(20_000))
    + b"u.",
    "a large number": b"\x80\x02\x8b" + struct.pack("<i", MEGABYTE) + b"\x7f" * MEGABYTE + b".",
    "a large number as text": b"L" + b"9" * MEGABYTE + b"L\n.",
    "a large number without an end": b"I" + b"9" * MEGABYTE,
    "bytes of a size": b"\x80\x04\x8e" + HUGE + b"a.",
    "text of a size": b"\x80\x04\x8d" + HUGE + b"a.",
    "an array of bytes of a size": b"\x80\x05\x96" + HUGE + b"a.",
    "a negative size": b"T\xff\xff\xff\xffa.",
    "a frame of a size": b"\x80\x04\x95" + HUGE + b"N.",
    "too many steps": many_times(b"N0", MEGABYTE, after=b"N."),
    "sets": b"\x80\x04\x8f.",
    "a name in an old way": b"(ios\nsystem\n.",
    "a new object": b"\x80\x02cnumpy\ndtype\n)\x81.",
    "an extension": b"\x80\x02\x82\x01.",
    "a name of another": b"Pabc\n.",
    "bytes made again and again": b"\x80\x02X"
    + struct.pack("<I", 8 * MEGABYTE)
    + b"a" * 8 * MEGABYTE
    + b"q\x000("
    + b"c_codecs\nencode\nh\x00\x85R" * 1_000
    + b"l.",
    "an array of a shape": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01(\x8a\x08"
    + struct.pack("<Q", 2**62)
    + b"t"
    + DTYPE
    + b"\x89U\x00tb.",
    "an array of many sides": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01("
    + b"K\x01" * 100_000
    + b"t"
    + DTYPE
    + b"\x89U\x00tb.",
    "an array of a side in digits": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01(U\x05"
    + b"99999"
    + b"t"
    + DTYPE
    + b"\x89U\x00tb.",
    "the state of a function": b"\x80\x02c_codecs\nencode\n}X\x01\x00\x00\x00aK\x01sb.",
    "the state of a type": b"\x80\x02cnumpy\ndtype\n}X\x05\x00\x00\x00dtypeK\x01sb.",
    "nothing to stop at": b"N",
    "nothing": b"",
    "an end without a value": b".",
    "a mark as a value": b"(.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_no_more_than_their_own_size(name):
    """In a process of its own: less than 1.5 GiB of address space, and 20 s of a processor."""
    content = BOMBS[name]
    limits = "resource.RLIMIT_AS, (1536 << 20,) * 2", "resource.RLIMIT_CPU, (20, 20)"
    program = "\n".join(
        [
            "import resource, sys",
            "from clipserve.tools.evaluation.unpickle import load_plain",
            "from clipserve.tools.evaluation.dataset import DatasetError",
            *(f"resource.setrlimit({limit})" for limit in limits),
            "try: load_plain(sys.stdin.buffer.read())",
            "except DatasetError as error: print('refused:', error)",
            "else: print('read')",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    told = done.stdout.decode()
    harmless = ("laughs", "deep lists", "deep tuples", "a list in itself", "memo index", "a frame of a size")
    assert told.startswith("read" if name.startswith(harmless) else "refused"), told


def test_a_list_that_occurs_often_is_one_list():
    loaded = load_plain(laughs(3))
    assert loaded[0][0][0] == [0]
    assert loaded[0] is loaded[9]


def test_a_batch_whose_labels_are_lists_of_lists_is_refused():
    content = pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [[0] * 10] * 10}, 2)
    with pytest.raises(DatasetError, match="must be whole numbers"):
        list(batch_samples("test_batch", content, CIFAR10))


def tar_of(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def long_header() -> bytes:
    """A member whose name alone has 40 MB."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 40 * MEGABYTE
    return gzip.compress(info.tobuf() + bytes(40 * MEGABYTE), 1)


def hollow_zip(declared: int) -> bytes:
    """An .npz with an array of many zeros."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x_test.npy", "w") as made:
        np.lib.format.write_array_header_1_0(
            made, {"descr": "|u1", "fortran_order": False, "shape": (declared,)}
        )
        for _ in range(min(declared, 90 * MEGABYTE) // MEGABYTE):
            made.write(bytes(MEGABYTE))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.tar.gz", lambda: tar_of("test_batch", bytes(30 * MEGABYTE))),
        ("a.tar.gz", lambda: tar_of("other", bytes(90 * MEGABYTE))),
        ("a.tar.gz", long_header),
        ("test_batch.gz", lambda: gzip.compress(bytes(30 * MEGABYTE), 1)),
        ("test_batch.gz", lambda: b"\x1f\x8bnothing"),
        ("a.npz", lambda: hollow_zip(90 * MEGABYTE)),
        ("a.npz", lambda: hollow_zip(2**50)),
        ("a.npz", lambda: b"PK\x03\x04nothing"),
        ("a.tar.gz", lambda: b"\x1f\x8bnothing"),
    ],
)
def test_archives_are_unpacked_up_to_a_size(tmp_path, monkeypatch, name, make):
    for module in ("cifar_arrays", "cifar_batches", "bounded"):
        monkeypatch.setattr(f"clipserve.tools.evaluation.{module}.MAX_FILE_BYTES", 64 * MEGABYTE)
    for module in ("cifar_batches", "bounded"):
        monkeypatch.setattr(f"clipserve.tools.evaluation.{module}.MAX_MEMBER_BYTES", 16 * MEGABYTE)
    (tmp_path / name).write_bytes(make())
    with pytest.raises(DatasetError, match=r"too large|more than|the limit is|not a readable"):
        list(file_samples(tmp_path / name, "test", CIFAR10))
