"""Pieces of work on a Ray cluster, or on a Ray of this machine alone."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from isoflop.core.errors import IsoflopError
from isoflop.core.executor import Executor, Job, R, State, T, called, lost, value_of
from isoflop.core.extras import needs


class Ray(Executor):
    """Every node must see the same folders."""

    def __init__(
        self, address: str | None = None, *, num_processes: int | None = None, folder: Path | None = None
    ) -> None:
        """``address`` of a running cluster, or ``RAY_ADDRESS``; without either, one of ``num_processes`` starts here,
        for this process only. What jobs print goes to ``folder``."""
        self.address, self.num_processes = address or os.environ.get("RAY_ADDRESS"), num_processes
        self.folder = folder
        self._numbers = itertools.count()

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> list[Job[R]]:
        ray = self._ready()
        call = ray.remote(max_retries=0)(_called)  # what is lost is done again by `Executor.ended`
        shared = ray.put(function)  # once, whatever it carries
        return [_RayJob(ray, call.remote(shared, item, log), log) for item in items for log in [self._log()]]

    def first(self, jobs: Sequence[Job[R]]) -> Job[R]:
        by_reference = {job.reference: job for job in jobs if isinstance(job, _RayJob)}
        (done, *_), _ = self._ready().wait(list(by_reference))
        return by_reference[done]

    def _log(self) -> Path | None:
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{os.getpid()}-{next(self._numbers)}.log"

    def _ready(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # isoflop phones nobody
        with needs("ray"):
            import ray
        if not ray.is_initialized():
            here: dict[str, Any] = {"num_cpus": self.num_processes, "_node_ip_address": "127.0.0.1"}
            given = {"address": self.address} if self.address else here
            ray.init(include_dashboard=False, log_to_driver=False, **given)
        return ray


class _RayJob(Job[R]):
    def __init__(self, ray: Any, reference: Any, log: Path | None) -> None:
        super().__init__(log)
        self._ray, self.reference, self._cancelled = ray, reference, False

    @property
    def state(self) -> State:
        if self._cancelled:
            return "cancelled"
        done, _ = self._ray.wait([self.reference], timeout=0)
        if not done:
            return "running" if self.log and self.log.exists() else "waiting"
        try:
            return "failed" if isinstance(self._ray.get(self.reference), IsoflopError) else "done"
        except self._ray.exceptions.RayTaskError:
            return "failed"
        except self._ray.exceptions.RayError:
            return "lost"

    def result(self) -> R:
        try:
            result: R | IsoflopError = self._ray.get(self.reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            raise lost("cancelled" if self._cancelled else f"by Ray: {error}") from error
        return value_of(result)

    def cancel(self) -> None:
        done, _ = self._ray.wait([self.reference], timeout=0)
        if not done:
            self._cancelled = True
            self._ray.cancel(self.reference, force=True)


def _called(function: Callable[[T], R], item: T, log: Path | None) -> R | IsoflopError:
    return called(function, item, log)
