"""Reads a pickle without trusting it: Python's own reader, in Python, with limits.

The reader in C takes gigabytes for a memo index in 9 bytes, and hashes nested keys for hours. Here, the memo
is a dictionary, keys are texts, bytes or small numbers, steps are counted, and a pickle can call and change
only what it is given.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

MAX_STEPS = 1_000_000
"""A batch of 50,000 pictures with names and two labels takes 350,000."""
MAX_KEY = 1024
"""Maximum characters or bytes of a dictionary's key."""
SMALL = 2**31
"""Number keys must be below this; larger ones can be chosen to have equal hashes."""
REFUSED = ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID",
           "LONG4", "NEXT_BUFFER", "READONLY_BUFFER", "EMPTY_SET", "FROZENSET", "ADDITEMS")  # fmt: skip
"""Steps that plain data do not need."""

Function = Callable[..., Any]
Step = Callable[["PlainUnpickler"], None]


class PlainUnpickler(pickle._Unpickler):
    """Reads one pickle of at most protocol 5. Errors of any kind mean that the pickle is not readable.

    Args:
        content: the pickle.
        functions: the functions that the pickle may call, by module and name.
        stateful: our types whose `__setstate__` the pickle may call.
    """

    # Of the base class, without types there.
    dispatch: ClassVar[dict[int, Step]]  # type: ignore[assignment]
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self, content: bytes, functions: Mapping[tuple[str, str], Function], stateful: tuple[type, ...]
    ) -> None:
        super().__init__(io.BytesIO(content), fix_imports=False, encoding="bytes")
        self._functions = functions
        self._stateful = stateful
        self._steps = 0

    def find_class(self, module: str, name: str) -> Function:
        """The function of that name. Raises UnpicklingError if the pickle may not call it."""
        if (module, name) not in self._functions:
            raise pickle.UnpicklingError(
                f"the pickle wants {module[:80]}.{name[:80]}, which no data set needs; it was not run"
            )
        return self._functions[module, name]

    def step(self, step: Step) -> None:
        """Runs one step."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise pickle.UnpicklingError(f"it has more than {MAX_STEPS:,} steps")
        step(self)

    def build(self) -> None:
        """Sets the state of one of our objects."""
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) not in self._stateful:
            raise pickle.UnpicklingError("it sets the state of an object without one")
        target.__setstate__(state)

    def set_item(self) -> None:
        """Adds a key and its value to the dictionary below them."""
        value, key = self.stack.pop(), self.stack.pop()
        self.add_items([key, value])

    def set_items(self) -> None:
        """Adds the keys and values above the mark to the dictionary below it."""
        self.add_items(self.pop_mark())

    def new_dict(self) -> None:
        """Makes a dictionary of the keys and values above the mark."""
        items = self.pop_mark()
        self.stack.append({})
        self.add_items(items)

    def add_items(self, items: list[Any]) -> None:
        """Adds keys and values, by turns, to the dictionary on top of the stack."""
        target = self.stack[-1]
        if type(target) is not dict:
            raise pickle.UnpicklingError("it has no dictionary where it needs one")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value


def checked_key(key: Any) -> str | bytes | int:
    """The key, if its hash is fast and collisions cannot be chosen. Raises UnpicklingError."""
    if type(key) in (str, bytes) and len(key) <= MAX_KEY:
        return key
    if type(key) is int and abs(key) < SMALL:
        return key
    raise pickle.UnpicklingError("it has a dictionary whose keys are neither short texts nor small numbers")


def steps() -> dict[int, Step]:
    """The steps of the base class that plain data need, counted; some are replaced by ours."""
    ours = {"BUILD": PlainUnpickler.build, "SETITEM": PlainUnpickler.set_item}
    ours |= {"SETITEMS": PlainUnpickler.set_items, "DICT": PlainUnpickler.new_dict}
    # typeshed has the steps of the reader in C.
    chosen: dict[int, Step] = dict(pickle._Unpickler.dispatch)  # type: ignore[arg-type]
    for name in REFUSED:
        del chosen[getattr(pickle, name)[0]]
    chosen |= {getattr(pickle, name)[0]: step for name, step in ours.items()}

    def counted(step: Step) -> Step:
        return lambda reader: reader.step(step)

    return {code: counted(step) for code, step in chosen.items()}


PlainUnpickler.dispatch = steps()
