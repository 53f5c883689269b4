"""Where pieces of work run: one protocol, whose implementations (`isoflop.fleet`) are handed down to the stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Runs a function, importable by name, on items that can be sent to another process."""

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Results as they come, in any order; the first error is raised and ends what has not begun."""
        ...
