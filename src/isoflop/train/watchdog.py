"""Ends a process whose run no longer gets on: a collective that waits for nobody, a filesystem that does not answer.

Everything else that can befall a run ends its process, and what supervises it begins anew from the last checkpoint; a
hang would last for ever. So it is made a death like any other, and where every thread stood is left for a person.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: the same command may succeed when it is repeated."""
PATIENCE_SECONDS, PATIENCE_SHARE = 900.0, 0.02
"""A run of ``s`` seconds may be without a step for the larger of these, the share being of ``s``: a step, compiling,
saving and validating (an eighth of a hundredth of it at a time) all take less."""
TICK_SECONDS = 1.0
_TELLING_SECONDS = 5.0


class Watchdog:
    """Counts seconds since the last sign of life, of those in which this process was not itself stopped."""

    def __init__(self, stacks: Path, patience: float, telling: Callable[[str], object]) -> None:
        self.stacks, self.patience, self.telling = stacks, patience, telling
        self.quiet_seconds = 0.0
        self._done = threading.Event()

    def beat(self) -> None:
        """A sign of life."""
        self.quiet_seconds = 0.0

    def watch(self) -> None:
        """Until `rest`; does not come back where patience runs out."""
        before = time.monotonic()
        while not self._done.wait(TICK_SECONDS):
            now = time.monotonic()
            self.quiet_seconds += min(now - before, 2 * TICK_SECONDS)  # SIGSTOP stops this thread too
            before = now
            if self.quiet_seconds > self.patience:
                self._end()

    def rest(self) -> None:
        self._done.set()

    def _end(self) -> None:
        try:
            message = f"no step for {self.quiet_seconds:.0f} s: it hangs; where, of every thread, is in {self.stacks}"
            print(f"isoflop: {message}", file=sys.stderr, flush=True)
            faulthandler.dump_traceback(sys.stderr)
            teller = threading.Thread(target=self._tell, args=[message], daemon=True)
            teller.start()
            teller.join(timeout=_TELLING_SECONDS)  # disk and records may hang where the run does
        finally:
            os._exit(EXIT_CODE)  # the thread that hangs cannot be asked

    def _tell(self, message: str) -> None:
        with self.stacks.open("w") as file:
            faulthandler.dump_traceback(file)
        self.telling(message)


@contextmanager
def watched(stacks: Path, *, seconds: float, telling: Callable[[str], object]) -> Iterator[Watchdog]:
    """Within the block a run of so many ``seconds`` has to beat. ``telling`` is told before the end; stacks go to a
    file."""
    dog = Watchdog(stacks, max(PATIENCE_SECONDS, PATIENCE_SHARE * seconds), telling)
    thread = threading.Thread(target=dog.watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield dog
    finally:
        dog.rest()
