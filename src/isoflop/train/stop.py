"""Asks to stop (Ctrl-C, SIGTERM, SIGUSR1) become a flag that the loop reads between steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Whether one of the signals has come, and which."""

    name: str | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within the block a first signal is only noted; a second Ctrl-C interrupts at once, as usual."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        request.name = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
