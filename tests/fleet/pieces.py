"""Pieces of work that import nothing heavy: each process of an executor has to load the module of what it does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

PATIENCE = 60.0


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
