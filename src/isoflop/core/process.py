"""Settings that a process must be started with, and how it ends: with its parent, or by Ctrl-C."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from isoflop.core.errors import Interrupted

ALLOCATOR = (
    "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=67108864"
)
"""Keeps large tensors' memory instead of returning it to the kernel and faulting it in again each step."""
PR_SET_PDEATHSIG = 1
PARENT = "ISOFLOP_PARENT"
"""Environment variable: the process that started this one among others, and that it must not outlive."""
MAX_RESTARTS = 10
"""Of processes that train together, when one of them dies."""
AGAIN = ("-P", "-m", "isoflop")
"""How the process starts itself anew; -P keeps a random.py in the current folder from hiding Python's own."""


def tune_process(*program: str) -> None:
    """Starts this process again (``program``: what follows the interpreter) with glibc's allocator set for training.

    glibc reads its settings only at start. The process keeps its number and its age; children inherit the setting.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = ALLOCATOR
        os.execv(sys.executable, [sys.executable, *program, *sys.argv[1:]])


def process_age() -> float:
    """Seconds since this process was started, imports included."""
    import psutil  # which no command's --help should wait for

    return time.time() - psutil.Process().create_time()


def head_of_work() -> int:
    """The process under which all of the work goes on: this one, or what started it beside others that do the same."""
    return int(os.environ.get(PARENT, os.getpid()))


def die_with_parent(parent: int) -> None:
    """Ties this process's life to that of ``parent``, the process that started it, also where that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the signal was set


def lighten(*, computes: bool = False) -> None:
    """Makes a process ready for work on text, before it imports what that needs: the collector of cycles does not look
    through all that is imported or made again and again, for few cycles; and unless it ``computes`` much, NumPy's
    linear algebra does not start threads that wait by turning round."""
    gc.set_threshold(50_000, 10, 10)
    if not computes:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextmanager
def interruptible(remedy: str = "The same command again goes on from there") -> Iterator[None]:
    """Ctrl-C within the block, whose work is kept piece by piece, as what it is to a person."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted; what was finished is kept", remedy=remedy) from None
