"""Pieces of work as an array of Slurm jobs, by submitit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from isoflop.core.errors import IsoflopError
from isoflop.core.executor import R, T
from isoflop.core.extras import needs

_MINUTES = 24 * 60


class Slurm:
    """An `Executor`; every node must see the same folders.

    Partition, account and the like are sbatch's own environment variables (``SBATCH_PARTITION`` ...).
    """

    def __init__(self, folder: Path, *, num_processes: int | None = None, cluster: str = "slurm") -> None:
        """Job files go to ``folder``; at most ``num_processes`` run at once. ``cluster="local"`` needs no Slurm."""
        self.folder, self.num_processes, self.cluster = folder, num_processes, cluster

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        with needs("slurm"):
            import submitit
        if not items:
            return
        executor = submitit.AutoExecutor(self.folder, cluster=self.cluster)
        executor.update_parameters(name="isoflop", cpus_per_task=1, timeout_min=_MINUTES)
        if self.num_processes:
            executor.update_parameters(slurm_array_parallelism=self.num_processes)
        jobs = executor.map_array(function, items)
        try:
            for job in submitit.helpers.as_completed(jobs):
                if (error := job.exception()) is not None:
                    raise IsoflopError(
                        f"job {job.job_id} failed ({_cause(str(error))})",
                        where=str(job.paths.stderr),
                        remedy="Do the same again: what was finished is kept",
                    ) from error
                yield job.result()
        finally:
            for job in jobs:
                if not job.done():
                    job.cancel()


def _cause(told: str) -> str:
    """The last line of the job's trace, which submitit puts between two rules of dashes."""
    trace = told.split("\n----------------------\n")
    return (trace[1] if len(trace) > 1 else told).strip().splitlines()[-1]
