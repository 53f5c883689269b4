"""The budget's ledger: where each second went. Everything in it sums to the wall time it was open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from isoflop.core.errors import DiskError
from isoflop.core.journal import Stamped
from isoflop.core.records import Spent

FLUSH_SECONDS = 2.0
"""A kill loses at most this much bookkeeping."""
UNATTRIBUTED = ("other", "unattributed")
"""Stage and activity of the time outside every activity."""


class Ledger:
    """Books wall time to the innermost open activity, from construction to `close`.

    Activities nest: inner time is not counted in the outer. As a context manager it also books every
    `FLUSH_SECONDS` from a thread of its own, so that long activities survive a kill. Activities are opened and
    closed by one thread only.
    """

    def __init__(self, write: Callable[[Spent], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._stack = [UNATTRIBUTED]
        self._booked_until = clock()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="ledger", daemon=True)

    @contextmanager
    def activity(self, stage: str, activity: str) -> Iterator[None]:
        """Books the time inside the block to ``activity`` of ``stage``, also when the block raises."""
        self._switch(lambda: self._stack.append((stage, activity)))
        try:
            yield
        finally:
            self._switch(self._stack.pop)

    def flush(self) -> None:
        """Books the time since the last booking to the current activity."""
        self._switch(lambda: None)

    def close(self) -> None:
        """Stops the thread and books what is left."""
        self._stop.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self.flush()

    def __enter__(self) -> Ledger:
        self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _switch(self, change: Callable[[], object]) -> None:
        with self._lock:
            try:
                self._book()
            finally:
                change()

    def _book(self) -> None:
        now = self._clock()
        if now > self._booked_until:
            stage, activity = self._stack[-1]
            self._write(Spent(stage, activity, now - self._booked_until))
            self._booked_until = now

    def _tick(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            try:
                self.flush()
            except DiskError:  # unbooked time stays due, and the main thread meets the same error on its next write
                continue


def spent_seconds(records: Iterable[Stamped]) -> float:
    """Budgeted seconds spent so far, over all sessions of a study."""
    return sum(by_stage(records).values())


def by_stage(records: Iterable[Stamped]) -> dict[tuple[str, str], float]:
    """Seconds by (stage, activity), in order of first appearance; their sum is `spent_seconds`."""
    totals: dict[tuple[str, str], float] = {}
    for stamped in records:
        if isinstance(stamped.record, Spent):
            key = (stamped.record.stage, stamped.record.activity)
            totals[key] = totals.get(key, 0.0) + stamped.record.seconds
    return totals
