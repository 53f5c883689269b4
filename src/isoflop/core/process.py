"""Settings that a process must be started with."""

from __future__ import annotations

import os
import sys

ALLOCATOR = (
    "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=67108864"
)
"""Keeps large tensors' memory instead of returning it to the kernel and faulting it in again each step."""


def tune_process(*program: str) -> None:
    """Starts this process again (``program``: what follows the interpreter) with glibc's allocator set for training.

    glibc reads its settings only at start. The process keeps its number and its age; children inherit the setting.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = ALLOCATOR
        os.execv(sys.executable, [sys.executable, *program, *sys.argv[1:]])
