"""Starts the processes that train together, and starts all of them anew when one dies.

Each attempt finds itself by a file of its own: torchrun's restarts on one store hang or die on gloo
(pytorch/pytorch#167288). What was saved is where the next attempt goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch

from isoflop.core.process import PARENT
from isoflop.machine.limits import usable_cores
from isoflop.train.ranks import STORE

POLL_SECONDS = 0.05
STDERR = 2
"""Where processes that were started talk: what they were started for has the output."""
ASKED_CODE = 130
FINAL_CODES = (0, 2, ASKED_CODE)
"""Exit codes of the leader behind which there is no other attempt: done, a person's mistake, asked to stop."""


def supervise(
    command: list[str],
    *,
    size: int,
    max_restarts: int,
    restarting: Callable[[int, int], None],
    progress: Callable[[], object] = lambda: None,
) -> int:
    """Runs ``command`` in ``size`` processes until done; returns the leader's exit code, or the last failure's.

    SIGTERM and Ctrl-C reach the leader, which saves. ``restarting`` is told the number of the new attempt and the
    exit code behind it. ``progress`` says how far the work is: where two attempts in a row leave it as it was, there is
    no third.
    """
    torch.cuda.empty_cache()  # what this process has of the first GPU's memory is the leader's now
    asked: list[int] = []
    before = [object(), object()]
    for attempt in range(1 + max_restarts):
        code = _attempt(command, size, asked)
        if asked:
            return ASKED_CODE
        before = [before[1], progress()]
        stuck = before[0] is not None and before[0] == before[1]
        if code in FINAL_CODES or stuck or attempt == max_restarts:
            break
        restarting(attempt + 1, code)
    return code


def _attempt(command: list[str], size: int, asked: list[int]) -> int:
    with tempfile.TemporaryDirectory(prefix="isoflop-") as folder:
        common = {
            STORE: str(Path(folder) / "store"),
            PARENT: str(os.getpid()),
            "WORLD_SIZE": str(size),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": str(max(1, usable_cores() // size)),
        }
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(size):
                own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                ranks.append(subprocess.Popen(command, env=os.environ | common | own, stdout=STDERR))
            with _forwarded(ranks[0], asked):
                return _outcome(ranks)
        finally:
            for process in ranks:
                process.kill()
                process.wait()


def _outcome(ranks: list[subprocess.Popen[bytes]]) -> int:
    """The leader's exit code once it has ended, or that of a follower which died before it."""
    while (code := ranks[0].poll()) is None:
        for follower in ranks[1:]:
            if follower.poll() not in (None, 0):
                code = _told(ranks[0])
                return int(follower.returncode) if code is None else code
        time.sleep(POLL_SECONDS)
    return code


def _told(leader: subprocess.Popen[bytes]) -> int | None:
    """The leader's exit code where it is about to end by itself: its followers fall when it leaves."""
    try:
        code = leader.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return None
    return code if code in FINAL_CODES else None


@contextmanager
def _forwarded(leader: subprocess.Popen[bytes], asked: list[int]) -> Iterator[None]:
    """Within the block signals that ask to stop go to the leader, and their numbers to ``asked``."""

    def forward(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        leader.send_signal(signal.SIGTERM)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
