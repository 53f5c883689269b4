"""Where pieces of work run: one protocol, whose implementations (`isoflop.fleet`) are handed down to the stages."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Generic, Literal, TypeVar

from isoflop.core.errors import IsoflopError, LostError

T = TypeVar("T")
R = TypeVar("R")
Place = Literal["local", "ray", "slurm"]
State = Literal["waiting", "running", "done", "failed", "lost", "cancelled"]
RETRIES = 3
"""Of a piece that was lost with its process or machine, in `Executor.ended` and `Executor.map`."""
_NUMBERS = itertools.count()


class Job(ABC, Generic[R]):
    """One piece of work that was given away."""

    def __init__(self, log: Path | None = None) -> None:
        self.log = log

    @property
    @abstractmethod
    def state(self) -> State:
        """At this moment; ``lost`` is what ended with its process or machine, without a word."""

    @abstractmethod
    def result(self) -> R:
        """Waits for it. Raises what the work raised (Slurm tells other errors than a person's as text alone), and
        `LostError` where it was lost or cancelled."""

    @abstractmethod
    def cancel(self) -> None:
        """Ends it at once, whatever it does; nothing where it has ended."""

    def logs(self) -> str:
        """What it printed so far, by Python at least; nothing where the executor keeps no logs."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log and self.log.exists() else ""


class Executor(ABC):
    """Runs a function, importable by name, on items that can be sent to another process.

    Where work is lost it is done again: functions find what they finished on disk, so that a second time goes on where
    the first one ended, wherever that is.
    """

    is_near = False
    """Whether to hand it a second's work pays: nobody else's jobs are waited for."""

    @abstractmethod
    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> list[Job[R]]:
        """A job for each item; they run as there is room."""

    @abstractmethod
    def first(self, jobs: Sequence[Job[R]]) -> Job[R]:
        """Waits until one of them has ended, in whatever way."""

    def close(self) -> None:  # noqa: B027
        """Ends what it keeps for the next jobs, where it does; for whoever is done with it."""

    def ended(self, function: Callable[[T], R], items: Sequence[T]) -> Generator[Job[R], None, None]:
        """Jobs as they end, lost ones after they were done again; what is still under way when the generator is closed
        is cancelled."""
        pending = {job: (item, RETRIES) for job, item in zip(self.submit(function, items), items, strict=True)}
        try:
            while pending:
                job = self.first(list(pending))
                item, retries = pending.pop(job)
                if job.state == "lost" and retries:
                    pending |= dict.fromkeys(self.submit(function, [item]), (item, retries - 1))
                else:
                    yield job
        finally:
            for job in pending:
                job.cancel()

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Results as they come, in any order; the first error is raised and ends all that is under way."""
        with closing(self.ended(function, items)) as jobs:
            for job in jobs:
                yield job.result()


def called(function: Callable[[T], R], item: T, log: Path | None = None) -> R | IsoflopError:
    """What a process of any executor does: a person's mistakes are results, what is printed goes to ``log``."""
    try:
        if log is None:
            return function(item)
        with log.open("a", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
            return function(item)
    except IsoflopError as error:
        return error


def value_of(result: R | IsoflopError) -> R:
    """Of what `called` returned; raises the person's mistake."""
    if isinstance(result, IsoflopError):
        raise result
    return result


def lost(how: str) -> LostError:
    """What a job that was lost raises."""
    return LostError(f"a piece of work was lost ({how})", remedy="Do the same again: what was finished is kept")


def new_log(folder: Path | None) -> Path | None:
    """A file in ``folder`` that no other job of this process has."""
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute() / f"{os.getpid()}-{next(_NUMBERS)}.log"
