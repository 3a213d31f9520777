"""Progress lines: one for each step, and on a terminal a changing line during the step."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from bootstrap.pip import megabytes

TICK_SECONDS = 1.0


class Lines:
    """Standard error, shared by concurrent steps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moving: dict[str, str] = {}
        self._live = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Prints a permanent line."""
        with self._lock:
            self._clear()
            print(text, file=sys.stderr, flush=True)
            self._draw()

    def move(self, key: str, text: str) -> None:
        """Sets the changing text of a step; an empty text removes it. Only terminals show it."""
        with self._lock:
            self._clear()
            self._moving[key] = text
            self._draw()

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _draw(self) -> None:
        if self._live:
            text = "  …  ".join(text for text in self._moving.values() if text)
            print(text[:110], end="", file=sys.stderr, flush=True)


class Step:
    """A step of the set-up: prints its beginning, progress and duration."""

    def __init__(self, lines: Lines, title: str) -> None:
        self._lines = lines
        self._title = title
        self._begin = time.monotonic()
        self._now = ("", 0)
        self._earlier = 0
        """Bytes that earlier programs of this step downloaded."""
        self._end = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin

    def set_progress(self, what: str, size: int) -> None:
        """Sets what a program does now, and the bytes that it has downloaded."""
        self._now = (what, self._earlier + size)

    def add_downloaded(self, size: int) -> None:
        """Adds the bytes that a program of this step downloaded; call it when the program ends."""
        self._earlier += size

    def __enter__(self) -> Step:
        self._lines.say(f"· {self._title}")
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._ticker.join()
        self._lines.move(self._title, "")
        if error is None:
            size = f", {megabytes(self._now[1])} downloaded" if self._now[1] else ""
            self._lines.say(f"✓ {self._title}: {self.seconds:.0f} s{size}")

    def _tick(self) -> None:
        while not self._end.wait(TICK_SECONDS):
            what, size = self._now
            so_far = f" {megabytes(size)}" if size else ""
            self._lines.move(self._title, f"{self._title.split(':')[0]}: {what}{so_far} {self.seconds:.0f} s")
