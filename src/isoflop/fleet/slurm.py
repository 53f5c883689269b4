"""Pieces of work as an array of Slurm jobs, by submitit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from isoflop.core.errors import IsoflopError
from isoflop.core.executor import Executor, Job, R, State, T, called, lost, value_of
from isoflop.core.extras import needs

_MINUTES = 24 * 60
_LOOK_SECONDS = 0.5
"""Between two looks for jobs that have ended; Slurm itself is asked once in ten minutes, by submitit."""
_WAITING = ("PENDING", "READY", "REQUEUED", "UNKNOWN")


class Slurm(Executor):
    """Every node must see the same folders.

    Partition, account and the like are sbatch's own environment variables (``SBATCH_PARTITION`` ...).
    """

    def __init__(self, folder: Path, *, num_processes: int | None = None, cluster: str = "slurm") -> None:
        """Job files go to ``folder``; at most ``num_processes`` run at once. ``cluster="local"`` needs no Slurm."""
        self.folder, self.num_processes, self.cluster = folder, num_processes, cluster

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> list[Job[R]]:
        with needs("slurm"):
            import submitit
        if not items:
            return []
        executor = submitit.AutoExecutor(self.folder, cluster=self.cluster)
        executor.update_parameters(name="isoflop", cpus_per_task=1, timeout_min=_MINUTES, stderr_to_stdout=True)
        if self.num_processes:
            executor.update_parameters(slurm_array_parallelism=self.num_processes)
        return [_SlurmJob(job) for job in executor.map_array(partial(_called, function), items)]

    def first(self, jobs: Sequence[Job[R]]) -> Job[R]:
        while True:
            for job in jobs:
                if job.state not in ("waiting", "running"):
                    return job
            time.sleep(_LOOK_SECONDS)


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
        if self._error is None:
            return "failed" if isinstance(self._job.result(), IsoflopError) else "done"
        return "failed" if type(self._error).__name__ == "FailedJobError" else "lost"

    @cached_property
    def _error(self) -> Exception | None:
        """Of a job that has ended: what its process or Slurm says; files may come late, for which submitit waits."""
        error: Exception | None = self._job.exception()
        return error

    def result(self) -> R:
        self._job.wait()
        match self.state:
            case "lost" | "cancelled":
                raise lost(f"Slurm's job {self._job.job_id}: see {self.log}")
            case "failed" if self._error is not None:
                raise self._error
            case _:
                result: R | IsoflopError = self._job.result()
                return value_of(result)

    def cancel(self) -> None:
        if not self._job.done():
            self._cancelled = True
            self._job.cancel(check=False)


def _called(function: Callable[[T], R], item: T) -> R | IsoflopError:
    """Slurm itself keeps what is printed."""
    return called(function, item, None)
