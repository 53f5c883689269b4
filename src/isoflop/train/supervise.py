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
    apart: bool = False,
    progress: Callable[[], object] = lambda: None,
) -> int:
    """Runs ``command`` in ``size`` processes until done; returns the leader's exit code, or the last failure's.

    SIGTERM and Ctrl-C reach the leader, which saves. ``restarting`` is told the number of the new attempt and the
    exit code behind it. Of those that train ``apart``, a follower that dies is started anew alone. ``progress`` says
    how far the work is: where two attempts in a row leave it as it was, there is no third.
    """
    torch.cuda.empty_cache()  # what this process has of the first GPU's memory is the leader's now
    asked: list[int] = []
    before = [object(), object()]
    attempts, comebacks = (iter(range(1, 1 + max_restarts)) for _ in range(2))

    def returns(code: int) -> bool:
        """Whether a follower may come back."""
        number = next(comebacks, None)
        if number is not None:
            restarting(number, code)
        return number is not None

    while True:
        code = _attempt(command, size, asked, returns if apart else None)
        if asked:
            return ASKED_CODE
        before = [before[1], progress()]
        stuck = before[0] is not None and before[0] == before[1]
        number = None if code in FINAL_CODES or stuck else next(attempts, None)
        if number is None:
            return code
        restarting(number, code)


def _attempt(command: list[str], size: int, asked: list[int], returns: Callable[[int], bool] | None) -> int:
    with tempfile.TemporaryDirectory(prefix="isoflop-") as folder:
        common = {
            STORE: str(Path(folder) / "store"),
            PARENT: str(os.getpid()),
            "WORLD_SIZE": str(size),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": str(max(1, usable_cores() // size)),
        }
        ranks: list[subprocess.Popen[bytes]] = []

        def started(rank: int) -> subprocess.Popen[bytes]:
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            # a group of its own: a terminal's Ctrl-C would find it before it can answer, importing
            return subprocess.Popen(command, env=os.environ | common | own, stdout=STDERR, process_group=0)

        try:
            for rank in range(size):
                ranks.append(started(rank))
            with _forwarded(ranks[0], asked):
                return _outcome(ranks, started, returns)
        finally:
            for process in ranks:
                process.kill()
                process.wait()


def _outcome(
    ranks: list[subprocess.Popen[bytes]],
    started: Callable[[int], subprocess.Popen[bytes]],
    returns: Callable[[int], bool] | None,
) -> int:
    """The leader's exit code once it has ended, or that of a follower which died before it. Where followers may come
    back, those that ``returns`` grants no other start are left out."""
    left_out = set[int]()
    while (code := ranks[0].poll()) is None:
        for rank, follower in enumerate(ranks[1:], start=1):
            if rank in left_out or follower.poll() in (None, 0):
                continue
            if (code := _told(ranks[0])) is not None:
                return code
            if returns is None:
                return int(follower.returncode)
            if returns(int(follower.returncode)):
                ranks[rank] = started(rank)
            else:
                left_out.add(rank)
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
