"""What a person sees while isoflop works: a live line on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from isoflop.core.budget import format_seconds, format_si

PLAIN_SECONDS = 10.0
"""Least time between two plain lines of the same stage."""
_BAR_WIDTH = 24
_FORMATS: dict[str, Callable[[float], str]] = {
    "loss": lambda value: f"loss {value:.3f}",
    "tokens_per_second": lambda value: f"{format_si(value)}tok/s",
    "share_of_peak": lambda value: f"{value:.0%} of peak",
}


class Progress:
    """Shows stage, fraction, facts, remaining budget and ETA.

    ``remaining`` gives the budget's remaining seconds (below zero when overrun, infinite while unknown). ``update``
    only stores what to show, so a training loop may call it every step.
    """

    def __init__(
        self,
        *,
        remaining: Callable[[], float],
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._remaining, self._quiet, self._clock = remaining, quiet, clock
        self._stage = ""
        self._started = self._printed_at = clock()
        self._fraction: float | None = None
        self._facts: dict[str, str | float] = {}
        live = self._console.is_terminal and not quiet
        self._live = Live(self, console=self._console, refresh_per_second=2, transient=True) if live else None

    def stage(self, name: str) -> None:
        """A new stage begins: its clock, fraction and facts start afresh."""
        self._stage, self._fraction, self._facts = name, None, {}
        self._started = self._clock()
        self._print_line()

    def update(self, fraction: float | None, **facts: str | float) -> None:
        """Share of the stage done (None when unknown) and facts to show: loss, tokens_per_second, share_of_peak, ..."""
        self._fraction = fraction
        self._facts = self._facts | facts  # a new dict: the live view's thread may be reading the old one
        if self._clock() - self._printed_at >= PLAIN_SECONDS:
            self._print_line()

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def __rich__(self) -> Text:
        """The live line, drawn by rich twice a second."""
        return Text(f"{_bar(self._fraction)} {self._line()}", no_wrap=True, overflow="ellipsis")

    def _print_line(self) -> None:
        self._printed_at = self._clock()
        if self._live is None:
            self.note(self._line())

    def _line(self) -> str:
        parts = [self._stage]
        if self._fraction is not None:
            parts.append(f"{self._fraction:.0%}")
        parts += [_fact(name, value) for name, value in self._facts.items()]
        left = self._remaining()
        if math.isfinite(left):
            parts.append(f"{format_seconds(abs(left))} {'of budget left' if left >= 0 else 'over budget'}")
        if self._fraction:
            elapsed = self._clock() - self._started
            parts.append(f"stage ends in {format_seconds(elapsed * (1 - self._fraction) / self._fraction)}")
        return " · ".join(part for part in parts if part)


def _fact(name: str, value: str | float) -> str:
    if isinstance(value, str):
        return f"{name.replace('_', ' ')} {value}"
    known = _FORMATS.get(name)
    return known(value) if known else f"{name.replace('_', ' ')} {value:.4g}"


def _bar(fraction: float | None) -> str:
    filled = round(_BAR_WIDTH * min(max(fraction or 0.0, 0.0), 1.0))
    return "━" * filled + "╌" * (_BAR_WIDTH - filled)
