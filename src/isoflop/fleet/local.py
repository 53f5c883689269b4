"""Pieces of work in this process, or in several processes of this machine."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from isoflop.core.errors import IsoflopError
from isoflop.core.executor import Executor, Job, R, State, T, called, lost, value_of


class Local(Executor):
    """The default `Executor`. Its processes live as long as it does: each takes a second to import what it needs.

    A thread a process waits for its work, so that one that is killed takes no other's work with it.
    """

    def __init__(self, num_processes: int = 1, folder: Path | None = None) -> None:
        """What jobs print goes to ``folder``; to this process's own output where there is none."""
        self.num_processes, self.folder = num_processes, folder
        self._threads: ThreadPoolExecutor | None = None
        self._seat = threading.local()
        self._numbers = itertools.count()

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> list[Job[R]]:
        if self.num_processes < 2 or (len(items) < 2 and self._threads is None):
            return [_Here(function, item, self._log()) for item in items]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.num_processes)
        return [_There(self._threads, self._seat, function, item, self._log()) for item in items]

    def first(self, jobs: Sequence[Job[R]]) -> Job[R]:
        there = {job.future: job for job in jobs if isinstance(job, _There)}
        if not there:
            return jobs[0]
        return there[next(iter(wait(there, return_when=FIRST_COMPLETED).done))]

    def _log(self) -> Path | None:
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{os.getpid()}-{next(self._numbers)}.log"


class _Here(Job[R]):
    """Done in this process when its result is asked for."""

    def __init__(self, function: Callable[[T], R], item: T, log: Path | None) -> None:
        super().__init__(log)
        self._work: Callable[[], R | IsoflopError] = lambda: called(function, item, log)
        self._state: State = "waiting"

    @property
    def state(self) -> State:
        return self._state

    def result(self) -> R:
        if self._state == "cancelled":
            raise lost("cancelled")
        self._state = "failed"
        result = value_of(self._work())
        self._state = "done"
        return result

    def cancel(self) -> None:
        if self._state == "waiting":
            self._state = "cancelled"


class _There(Job[R]):
    """Done in the process of the thread that comes to it."""

    def __init__(
        self, threads: ThreadPoolExecutor, seat: threading.local, function: Callable[[T], R], item: T, log: Path | None
    ) -> None:
        super().__init__(log)
        self._seat, self._process, self._cancelled = seat, 0, False
        self.future: Future[R | IsoflopError] = threads.submit(self._sit, function, item)

    def _sit(self, function: Callable[[T], R], item: T) -> R | IsoflopError:
        """In the thread: the work in its process, which is started anew where it is none any more."""
        try:
            if not hasattr(self._seat, "pool"):
                self._seat.pool = ProcessPoolExecutor(1, get_context("spawn"), _be_one_of_many)
                self._seat.process = self._seat.pool.submit(os.getpid).result()
            self._process = self._seat.process
            if self._cancelled:
                raise lost("cancelled")
            result: R | IsoflopError = self._seat.pool.submit(called, function, item, self.log).result()
        except BrokenProcessPool as error:
            del self._seat.pool
            raise lost("its process was killed, perhaps for want of memory: try fewer --workers") from error
        finally:
            self._process = 0
        return result

    @property
    def state(self) -> State:
        if self._cancelled or self.future.cancelled():
            return "cancelled"
        if not self.future.done():
            return "running" if self._process else "waiting"
        if self.future.exception() is None:
            return "failed" if isinstance(self.future.result(), IsoflopError) else "done"
        return "lost" if isinstance(self.future.exception(), IsoflopError) else "failed"

    def result(self) -> R:
        if self.future.cancelled():
            raise lost("cancelled")
        return value_of(self.future.result())

    def cancel(self) -> None:
        if self.future.done():
            return
        self._cancelled = True
        if not self.future.cancel() and self._process:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)


def _be_one_of_many() -> None:
    """One thread, for its siblings have the other cores. Ctrl-C reaches every process of a terminal; this one's parent
    ends it."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
