"""Pieces of work as an array of Slurm jobs, by submitit."""

from __future__ import annotations

import math
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

from isoflop.core.errors import IsoflopError, first_line
from isoflop.core.executor import Executor, Job, R, State, T, called, lost, value_of
from isoflop.core.extras import needs

_MINUTES = 24 * 60
_LOOK_SECONDS, _ASK_SECONDS = 1.0, 10.0
"""Between two looks for the results of jobs, and between two questions to Slurm: so late may one that was lost be
noticed."""
_WAITING = ("PENDING", "CONFIGURING", "READY", "REQUEUED", "UNKNOWN")
_UNKNOWN, _GONE = "UNKNOWN", "GONE"
_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "TIMEOUT",
    _GONE,
}
"""What Slurm calls jobs that will not go on; one that is no longer known has ended too."""


class Slurm(Executor):
    """Every node must see the same folders.

    Partition, account and the like are sbatch's own environment variables (``SBATCH_PARTITION`` ...).
    """

    def __init__(self, folder: Path, *, num_processes: int | None = None, cluster: str = "slurm") -> None:
        """Job files go to ``folder``; at most ``num_processes`` run at once. ``cluster="local"`` needs no Slurm."""
        self.folder, self.num_processes, self.cluster = folder, num_processes, cluster
        self._queue = _Queue() if cluster == "slurm" else None

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> list[Job[R]]:
        with needs("slurm"):
            import submitit
        if not items:
            return []
        try:
            executor = submitit.AutoExecutor(self.folder, cluster=self.cluster)
            executor.update_parameters(name="isoflop", cpus_per_task=1, timeout_min=_MINUTES, stderr_to_stdout=True)
            if self.num_processes:
                executor.update_parameters(slurm_array_parallelism=self.num_processes)
            jobs = executor.map_array(_Work(function), items)
            if self._queue is not None:
                self._queue.watch(jobs)
            return [_SlurmJob(job) for job in jobs]
        except RuntimeError as error:
            what = f"Slurm takes no jobs ({first_line(error)})"
            raise IsoflopError(what, where="--on slurm", remedy="Start from a node that has sbatch and srun") from error

    def first(self, jobs: Sequence[Job[R]]) -> Job[R]:
        while True:
            for job in jobs:
                if job.state not in ("waiting", "running"):
                    return job
            time.sleep(_LOOK_SECONDS)


class _Queue:
    """The states of jobs as squeue tells them, all by one question, on any cluster; in the place of submitit's watcher.

    That one asks sacct, every ten minutes in the end. Without accounting, which small clusters do without, sacct knows
    nothing, and a job that was lost would be waited for for ever.
    """

    def __init__(self) -> None:
        self._states: dict[str, str] | None = None
        self._asked = -math.inf

    def watch(self, jobs: Sequence[Any]) -> None:
        """From now on submitit's ``jobs`` ask here; they were submitted just now, so what is known is too old."""
        self._states, self._asked = None, -math.inf
        for job in jobs:
            job.watcher = self

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """``mode`` as submitit has it."""
        wait = {"standard": _ASK_SECONDS, "force": 0.0}.get(mode, math.inf)
        if time.monotonic() - self._asked >= wait:
            self._ask()
        return _UNKNOWN if self._states is None else self._states.get(job_id, _GONE)

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        return self.get_state(job_id, mode) in _ENDED

    def _ask(self) -> None:
        """A controller that does not answer, perhaps started anew, is asked again later."""
        command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i %T"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        self._asked = time.monotonic()
        if found.returncode == 0:
            self._states = dict(line.split() for line in found.stdout.splitlines())


class _Work(Generic[T, R]):
    """What a job does; queued anew where its time is over."""

    def __init__(self, function: Callable[[T], R]) -> None:
        self.function = function

    def __call__(self, item: T) -> R | IsoflopError:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it, and scancel would take half a minute
        return called(self.function, item)

    def checkpoint(self, item: T) -> Any:
        """Called by submitit at the end of a job's time: what is finished is on disk."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, item)


class _SlurmJob(Job[R]):
    def __init__(self, job: Any) -> None:
        super().__init__(job.paths.stdout)
        self._job, self._cancelled = job, False

    @property
    def state(self) -> State:
        if self._cancelled:
            return "cancelled"
        if not self._job.done():
            return "waiting" if self._job.state in _WAITING else "running"
        if isinstance(self._outcome, Exception):
            failed = isinstance(self._outcome, IsoflopError) or type(self._outcome).__name__ == "FailedJobError"
            return "failed" if failed else "lost"
        return "done"

    @cached_property
    def _outcome(self) -> R | Exception:
        """Of a job that has ended: its result, or what it, submitit or Slurm says went wrong."""
        error: Exception | None = self._job.exception()  # files may come late, for which submitit waits
        if error is not None:
            return error
        result: R | IsoflopError = self._job.result()
        return result

    def result(self) -> R:
        if not self._cancelled:
            self._job.wait()
        if self.state in ("lost", "cancelled"):
            raise lost(f"Slurm's job {self._job.job_id}: see {self.log}")
        if isinstance(self._outcome, Exception) and not isinstance(self._outcome, IsoflopError):
            remedy = "Mend what the log says, then do the same again: what was finished is kept"
            raise IsoflopError(f"job {self._job.job_id} failed", where=str(self.log), remedy=remedy) from self._outcome
        return value_of(self._outcome)

    def cancel(self) -> None:
        if not self._job.done():
            self._cancelled = True
            self._job.cancel(check=False)
