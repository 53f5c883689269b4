"""Pieces of work that import nothing heavy, for each process of an executor has to load the module of what it does; and
waiting for what they do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60.0


def until(true: Callable[[], bool], *, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def talk(marker: Path) -> None:
    """Says who it is and that it is there, and stays."""
    marker.write_text(str(os.getpid()))
    print("asleep", flush=True)
    time.sleep(PATIENCE)


def die(item: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(item: Path) -> str:
    if not item.exists():
        item.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item.name
