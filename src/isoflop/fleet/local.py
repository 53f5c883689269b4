"""Pieces of work in this process, or in several processes of this machine."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import forkserver, get_context, parent_process
from pathlib import Path

from isoflop.core.errors import IsoflopError
from isoflop.core.executor import Executor, Job, R, State, T, called, lost, new_log, value_of

_CONTEXT = get_context("forkserver")


def foresee(*modules: str) -> None:
    """Starts what processes are forked from, which imports ``modules`` while this process is busy with other things.

    For the main thread: what is started inherits that Ctrl-C is nothing to it, which this process is told for a moment.
    """
    _CONTEXT.set_forkserver_preload(["isoflop.fleet.nursery", *modules])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


class Local(Executor):
    """The default `Executor`. Its processes live as long as it does; they are forked from one that has no threads, and
    import what that has not imported (`foresee`).

    A thread a process waits for its work, so that one that is killed takes no other's work with it.
    """

    is_near = True

    def __init__(self, num_processes: int = 1, folder: Path | None = None) -> None:
        """What jobs print goes to ``folder``; to this process's own output where there is none."""
        self.num_processes, self.folder = num_processes, folder
        self._threads: ThreadPoolExecutor | None = None
        self._pools: list[ProcessPoolExecutor] = []
        self._seat = threading.local()

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> list[Job[R]]:
        if self.num_processes < 2 or (len(items) < 2 and self._threads is None):
            return [_Here(function, item, new_log(self.folder)) for item in items]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.num_processes)
        return [_There(self._threads, self._seat, self._pools, function, item, new_log(self.folder)) for item in items]

    def close(self) -> None:
        """Or the pools would end themselves while the interpreter ends them, which now and then fails aloud."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for pool in self._pools:
            pool.shutdown()

    def first(self, jobs: Sequence[Job[R]]) -> Job[R]:
        for job in jobs:
            if isinstance(job, _Here):
                job.run()
            if job.state not in ("waiting", "running"):
                return job
        futures = {job.future: job for job in jobs if isinstance(job, _There)}
        return futures[next(iter(wait(futures, return_when=FIRST_COMPLETED).done))]


class _Here(Job[R]):
    """Done in this process when somebody waits for it."""

    def __init__(self, function: Callable[[T], R], item: T, log: Path | None) -> None:
        super().__init__(log)
        self._future: Future[R | IsoflopError] = Future()
        self._work: Callable[[], R | IsoflopError] = lambda: called(function, item, log)

    def run(self) -> None:
        if self._future.done():
            return
        self._future.set_running_or_notify_cancel()
        try:
            self._future.set_result(self._work())
        except Exception as error:
            self._future.set_exception(error)

    @property
    def state(self) -> State:
        return _state_of(self._future)

    def result(self) -> R:
        if self._future.cancelled():
            raise lost("cancelled")
        self.run()
        return value_of(self._future.result())

    def cancel(self) -> None:
        self._future.cancel()


class _There(Job[R]):
    """Done in the process of the thread that comes to it."""

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        seat: threading.local,
        pools: list[ProcessPoolExecutor],
        function: Callable[[T], R],
        item: T,
        log: Path | None,
    ) -> None:
        super().__init__(log)
        self._seat, self._pools, self._process, self._cancelled = seat, pools, 0, False
        self.future: Future[R | IsoflopError] = threads.submit(self._sit, function, item)

    def _sit(self, function: Callable[[T], R], item: T) -> R | IsoflopError:
        """In the thread: the work in its process, which is started anew where it is none any more."""
        try:
            if not hasattr(self._seat, "pool"):
                started = ProcessPoolExecutor(1, _CONTEXT, _be_one_of_many)
                self._pools.append(started)
                self._seat.pool, self._seat.process = started, started.submit(os.getpid).result()
            self._process = self._seat.process
            if self._cancelled:
                raise lost("cancelled")
            result: R | IsoflopError = self._seat.pool.submit(called, function, item, self.log).result()
        except BrokenProcessPool as error:
            self._seat.__dict__.pop("pool", None)
            how = "its process was killed, perhaps for want of memory: try fewer --workers"
            raise lost("cancelled" if self._cancelled else how) from error
        finally:
            self._process = 0
            if self._cancelled:  # whose kill may have come too late for the work, and hit an idle process
                self._seat.__dict__.pop("pool", None)
        return result

    @property
    def state(self) -> State:
        if self._cancelled:
            return "cancelled"
        return "running" if self._process else _state_of(self.future)

    def result(self) -> R:
        if self._cancelled:
            raise lost("cancelled")
        return value_of(self.future.result())

    def cancel(self) -> None:
        if self.future.done():
            return
        self._cancelled = True
        if not self.future.cancel() and self._process:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)


def _state_of(future: Future[R | IsoflopError]) -> State:
    if future.cancelled():
        return "cancelled"
    if not future.done():
        return "waiting"
    error = future.exception()
    if error is None:
        return "failed" if isinstance(future.result(), IsoflopError) else "done"
    return "lost" if isinstance(error, IsoflopError) else "failed"


def _be_one_of_many() -> None:
    """One thread, for its siblings have the other cores. Ctrl-C reaches every process of a terminal; this one's parent
    ends it, and if it is by dying: the system does not tell, for it was another process that forked this one."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    gc.freeze()  # what it was forked with is not looked through for cycles
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a process of an executor was started by another one"
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
