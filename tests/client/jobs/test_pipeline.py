from __future__ import annotations

import threading
import time

import pytest
from clipserve.jobs.pipeline import in_order
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=25)
@given(count=st.integers(0, 20), width=st.integers(1, 5))
def test_results_come_in_the_order_of_the_items(count, width):
    def work(i):
        time.sleep(0.001 * (i % 3))
        return i * i

    pairs = list(in_order(iter(range(count)), work, width=width, cancel=lambda: None))
    assert pairs == [(i, i * i) for i in range(count)]


def test_no_more_than_the_width_are_under_way():
    lock = threading.Lock()
    now = most = drawn = 0

    def items():
        nonlocal drawn
        for i in range(12):
            drawn += 1
            yield i

    def work(i):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return i

    for done, _ in enumerate(in_order(items(), work, width=3, cancel=lambda: None), 1):
        assert drawn <= done + 4
    assert most == 3


def test_a_single_item_needs_no_thread():
    pairs = list(in_order(iter([1]), lambda _: threading.current_thread(), width=4, cancel=lambda: None))
    assert pairs == [(1, threading.main_thread())]


def test_a_failure_ends_the_rest():
    cancelled = threading.Event()
    started = []

    def work(i):
        started.append(i)
        if i == 1:
            raise RuntimeError("no")
        assert cancelled.wait(5) or i == 0
        return i

    def first_returns_at_once(i):
        return work(i) if i else i

    with pytest.raises(RuntimeError, match="no"):
        list(in_order(iter(range(100)), first_returns_at_once, width=3, cancel=cancelled.set))
    assert cancelled.is_set()
    assert len(started) < 6


def test_a_later_failure_does_not_wait_for_earlier_work():
    cancelled = threading.Event()

    def work(i):
        if i == 2:
            raise RuntimeError("mine")
        cancelled.wait(5)
        raise InterruptedError

    start = time.perf_counter()
    with pytest.raises(RuntimeError, match="mine"):
        list(in_order(iter(range(100)), work, width=3, cancel=cancelled.set))
    assert time.perf_counter() - start < 3


def test_leaving_early_cancels_what_runs():
    cancelled = threading.Event()
    pairs = in_order(iter(range(100)), lambda i: i or 0, width=3, cancel=cancelled.set)
    next(pairs)
    pairs.close()
    assert cancelled.is_set()
