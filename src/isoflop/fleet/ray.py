"""Pieces of work on a Ray cluster, or on a Ray of this machine alone."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from isoflop.core.errors import IsoflopError, first_line
from isoflop.core.executor import Executor, Job, R, State, T, called, lost, new_log, value_of
from isoflop.core.extras import needs


class Ray(Executor):
    """Every node must see the same folders."""

    def __init__(
        self, address: str | None = None, *, num_processes: int | None = None, folder: Path | None = None
    ) -> None:
        """``address`` of a running cluster, or ``RAY_ADDRESS``; without either, one of ``num_processes`` starts here,
        for this process only. A cluster has as many workers as it has. What jobs print goes to ``folder``."""
        self.address, self.num_processes = address or os.environ.get("RAY_ADDRESS"), num_processes
        self.folder = folder

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> list[Job[R]]:
        ray = self._ready()
        call = ray.remote(max_retries=0)(called)  # what is lost is done again by `Executor.ended`
        shared = ray.put(function)  # once, whatever it carries
        return [_RayJob(ray, call.remote(shared, item, log), log) for item in items for log in [new_log(self.folder)]]

    def first(self, jobs: Sequence[Job[R]]) -> Job[R]:
        by_reference = {}
        for job in jobs:
            assert isinstance(job, _RayJob)
            if job.cancelled:
                return job
            by_reference[job.reference] = job
        (done, *_), _ = self._ready().wait(list(by_reference))
        return by_reference[done]

    def _ready(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # isoflop phones nobody
        with needs("ray"):
            import ray
        if not ray.is_initialized():
            here: dict[str, Any] = {"address": "local", "num_cpus": self.num_processes, "_node_ip_address": "127.0.0.1"}
            given = {"address": self.address} if self.address else here
            handler = signal.getsignal(signal.SIGTERM)  # which it would replace
            try:
                ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING, **given)
                signal.signal(signal.SIGTERM, handler)
            except ConnectionError as error:
                what = f"no Ray answers ({first_line(error)})"
                raise IsoflopError(what, where=self.address or "ray", remedy="Check RAY_ADDRESS") from error
        return ray


class _RayJob(Job[R]):
    def __init__(self, ray: Any, reference: Any, log: Path | None) -> None:
        super().__init__(log)
        self._ray, self.reference, self.cancelled = ray, reference, False

    @property
    def state(self) -> State:
        if self.cancelled:
            return "cancelled"
        if not self._has_ended():
            return "running" if self.log and self.log.exists() else "waiting"
        try:
            return "failed" if isinstance(self._ray.get(self.reference), IsoflopError) else "done"
        except self._ray.exceptions.RayTaskError:
            return "failed"
        except self._ray.exceptions.RayError:
            return "lost"

    def result(self) -> R:
        if self.cancelled:
            raise lost("cancelled")
        try:
            result: R | IsoflopError = self._ray.get(self.reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            raise lost(f"by Ray: {first_line(error)}") from error
        return value_of(result)

    def cancel(self) -> None:
        if not self._has_ended():
            self.cancelled = True
            self._ray.cancel(self.reference, force=True)

    def _has_ended(self) -> bool:
        ended, _ = self._ray.wait([self.reference], timeout=0)
        return bool(ended)
