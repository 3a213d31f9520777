"""A safe interpreter for pickles with plain data, protocols 0 to 5.

In Python's own reader, 9 bytes can allocate gigabytes (an index of the memo), hashing nested keys can take
forever, and a pickle can call any function. Here, each step costs at most its own bytes, only given functions
can be called, keys are texts, bytes or small numbers, and the size of created objects is limited.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from clipserve.tools.evaluation.pickle_tape import PickleError, Tape

MAX_OPCODES = 1_000_000
"""Maximum steps. A batch of 50,000 pictures with names and two labels takes 350,000."""
MAX_KEY = 1024
"""Maximum characters or bytes of a dictionary's key."""
SMALL = 2**31
"""Number keys must be below this; larger ones can be chosen to have equal hashes."""

MARK = object()
"""Marks the beginning of a list or tuple on the stack."""
CODES = {opcode.name: opcode.code.encode("latin-1") for opcode in pickletools.opcodes}

Function = Callable[..., Any]


class Stateful(Protocol):
    """An object whose state a pickle may set."""

    def __setstate__(self, state: Any) -> None: ...


class Machine:
    """Runs one pickle.

    Args:
        content: the pickle.
        functions: the functions that a pickle may call, by module and name.
        stateful: our types whose `__setstate__` a pickle may call.
        max_made: limit of bytes that all calls may create.
    """

    def __init__(
        self,
        content: bytes,
        functions: Mapping[tuple[str, str], Function],
        stateful: tuple[type[Stateful], ...],
        max_made: int,
    ) -> None:
        self.tape = Tape(content)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._functions = functions
        self._stateful = stateful
        self._left_to_make = max_made

    def run(self) -> Any:
        """The value of the pickle. Raises PickleError."""
        for _ in range(MAX_OPCODES):
            code = self.tape.take(1)
            if code == CODES["STOP"]:
                return self._pop()
            step = STEPS.get(code)
            if step is None:
                raise PickleError(f"it has the step {code!r}, which plain data do not need")
            step(self)
        raise PickleError(f"it has more than {MAX_OPCODES:,} steps")

    # the stack

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is MARK:
            raise PickleError("it takes a value from an empty stack")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise PickleError(f"it has no {kind.__name__} where it needs one")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        for start in range(len(self._stack) - 1, -1, -1):
            if self._stack[start] is MARK:
                values = self._stack[start + 1 :]
                del self._stack[start:]
                return values
        raise PickleError("a mark is missing")

    # steps

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(values)))

    def _append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _appends(self) -> None:
        values = self._since_mark()
        self._top(list).extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._top(dict)
        if len(values) % 2:
            raise PickleError("it has a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[checked_key(key)] = value

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _dict(self) -> None:
        values = self._since_mark()
        self._push({})
        self._set_items(values)

    def _put(self, index: int) -> None:
        if index < 0 or not self._stack or self._stack[-1] is MARK:
            raise PickleError("it stores a missing value in the memo")
        # A dictionary, so that a large index takes no more memory than a small one.
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise PickleError("it reads a missing index of the memo")
        self._push(self._memo[index])

    def _global(self, module: Any, name: Any) -> None:
        function = self._functions.get((module, name)) if type(module) is type(name) is str else None
        if function is None:
            raise PickleError(
                f"the pickle wants {shortened(module)}.{shortened(name)}, which no data set needs; "
                "it was not run"
            )
        self._push(function)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(arguments) is not tuple or function not in self._functions.values():
            raise PickleError("it calls something that is not a function")
        try:
            made = function(*arguments)
        except TypeError as error:
            raise PickleError(f"a call in it is malformed: {error}") from None
        self._left_to_make -= len(made) if isinstance(made, bytes) else 0
        if self._left_to_make < 0:
            raise PickleError("it creates more bytes than a data set needs")
        self._push(made)

    def _build(self) -> None:
        state = self._pop()
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, self._stateful):
            raise PickleError("it sets the state of an object without one")
        target.__setstate__(state)


def checked_key(key: Any) -> str | bytes | int:
    """The key, if its hash is fast and collisions cannot be chosen. Raises PickleError."""
    if type(key) in (str, bytes) and len(key) <= MAX_KEY:
        return key
    if type(key) is int and abs(key) < SMALL:
        return key
    raise PickleError("it has a dictionary whose keys are neither short texts nor small numbers")


def shortened(name: Any) -> str:
    return name[:80] if isinstance(name, str) else type(name).__name__


def push_global(machine: Machine) -> None:
    """Pushes the function of a module and a name, each in a line."""
    machine._global(machine.tape.line().decode("latin-1"), machine.tape.line().decode("latin-1"))


def steps() -> dict[bytes, Callable[[Machine], Any]]:

    def push(value: Any) -> Callable[[Machine], Any]:
        return lambda m: m._push(value)

    steps: dict[str, Callable[[Machine], Any]] = {
        "PROTO": lambda m: m.tape.take(1),
        "FRAME": lambda m: m.tape.take(8),  # the size of the frame is not needed
        "NONE": push(None),
        "NEWTRUE": push(True),
        "NEWFALSE": push(False),
        "INT": lambda m: m._push(m.tape.decimal()),
        "LONG": lambda m: m._push(m.tape.decimal()),
        "BININT": lambda m: m._push(m.tape.size("<i")),
        "BININT1": lambda m: m._push(m.tape.size("<B")),
        "BININT2": lambda m: m._push(m.tape.size("<H")),
        "LONG1": lambda m: m._push(m.tape.number(m.tape.size("<B"))),
        "LONG4": lambda m: m._push(m.tape.number(m.tape.size("<i"))),
        "FLOAT": lambda m: m._push(m.tape.decimal_float()),
        "BINFLOAT": lambda m: m._push(m.tape.double()),
        "STRING": lambda m: m._push(m.tape.quoted()),
        "BINSTRING": lambda m: m._push(m.tape.take(m.tape.size("<i"))),
        "SHORT_BINSTRING": lambda m: m._push(m.tape.take(m.tape.size("<B"))),
        "BINBYTES": lambda m: m._push(m.tape.take(m.tape.size("<I"))),
        "SHORT_BINBYTES": lambda m: m._push(m.tape.take(m.tape.size("<B"))),
        "BINBYTES8": lambda m: m._push(m.tape.take(m.tape.size("<Q"))),
        "BYTEARRAY8": lambda m: m._push(m.tape.take(m.tape.size("<Q"))),
        "UNICODE": lambda m: m._push(m.tape.escaped_text()),
        "BINUNICODE": lambda m: m._push(m.tape.text(m.tape.size("<I"))),
        "SHORT_BINUNICODE": lambda m: m._push(m.tape.text(m.tape.size("<B"))),
        "BINUNICODE8": lambda m: m._push(m.tape.text(m.tape.size("<Q"))),
        "MARK": push(MARK),
        "POP": Machine._pop,
        "POP_MARK": Machine._since_mark,
        "DUP": lambda m: m._push(m._stack[-1] if m._stack else m._pop()),
        "EMPTY_LIST": lambda m: m._push([]),
        "LIST": lambda m: m._push(m._since_mark()),
        "APPEND": Machine._append,
        "APPENDS": Machine._appends,
        "EMPTY_TUPLE": push(()),
        "TUPLE": lambda m: m._push(tuple(m._since_mark())),
        "TUPLE1": lambda m: m._tuple(1),
        "TUPLE2": lambda m: m._tuple(2),
        "TUPLE3": lambda m: m._tuple(3),
        "EMPTY_DICT": lambda m: m._push({}),
        "DICT": Machine._dict,
        "SETITEM": Machine._set_item,
        "SETITEMS": lambda m: m._set_items(m._since_mark()),
        "PUT": lambda m: m._put(m.tape.index()),
        "BINPUT": lambda m: m._put(m.tape.size("<B")),
        "LONG_BINPUT": lambda m: m._put(m.tape.size("<I")),
        "MEMOIZE": lambda m: m._put(len(m._memo)),
        "GET": lambda m: m._get(m.tape.index()),
        "BINGET": lambda m: m._get(m.tape.size("<B")),
        "LONG_BINGET": lambda m: m._get(m.tape.size("<I")),
        "GLOBAL": push_global,
        "STACK_GLOBAL": Machine._stack_global,
        "REDUCE": Machine._reduce,
        "BUILD": Machine._build,
    }
    return {CODES[name]: step for name, step in steps.items()}


STEPS = steps()
