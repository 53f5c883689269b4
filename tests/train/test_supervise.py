"""The supervisor with processes that only end in this or that way; real ones are in tests/faults/test_ranks.py."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from isoflop.core.process import PARENT
from isoflop.train.supervise import STORE, supervise


def command(code: str) -> list[str]:
    """Python that knows its rank and, by a file in the current folder, which attempt it is."""
    start = (
        "import os, pathlib, sys, time\n"
        "rank = int(os.environ['RANK'])\n"
        "mark = pathlib.Path(f'seen-{rank}')\n"
        "attempt = len(mark.read_text()) if mark.exists() else 0\n"
        "mark.write_text('x' * (attempt + 1))\n"
        "marks = [pathlib.Path(f'seen-{other}') for other in range(int(os.environ['WORLD_SIZE']))]\n"
        "while any(not mark.exists() or len(mark.read_text()) <= attempt for mark in marks): time.sleep(0.01)\n"
    )
    return [sys.executable, "-c", start + code]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def supervised(code: str, *, size: int = 2, max_restarts: int = 5, progress: object = None) -> tuple[int, list[int]]:
    """The exit code, and the codes behind new attempts."""
    restarts: list[int] = []
    told = supervise(
        command(code),
        size=size,
        max_restarts=max_restarts,
        restarting=lambda _, ended: restarts.append(ended),
        progress=lambda: progress,
    )
    return told, restarts


def test_all_of_them_know_who_and_how_many_they_are() -> None:
    code = (
        "assert os.environ['WORLD_SIZE'] == '3' and os.environ['LOCAL_RANK'] == str(rank)\n"
        "assert os.getpgrp() == os.getpid()\n"  # a terminal's Ctrl-C is the supervisor's
        f"assert os.environ['{PARENT}'] == str(os.getppid()) and not os.path.exists(os.environ['{STORE}'])"
    )
    assert supervised(code, size=3) == (0, [])
    assert sorted(path.name for path in Path().iterdir()) == ["seen-0", "seen-1", "seen-2"]


@pytest.mark.parametrize("code", [0, 2, 130])
def test_what_the_leader_says_is_final(code: int) -> None:
    assert supervised(f"sys.exit({code} if rank == 0 else 0)") == (code, [])


def test_a_death_of_the_leader_or_of_a_follower_starts_all_anew() -> None:
    dies = "os.kill(os.getpid(), 9) if rank == attempt else time.sleep(0.3 if attempt == 2 else 60)"
    assert supervised(dies) == (0, [-9, -9])
    assert Path("seen-0").read_text() == Path("seen-1").read_text() == "xxx"


@pytest.mark.parametrize("code", [0, 2])
def test_a_leader_that_ends_by_itself_is_heard_when_a_follower_falls_first(code: int) -> None:
    assert supervised(f"sys.exit(1) if rank else (time.sleep(0.3), sys.exit({code}))") == (code, [])


def test_there_are_so_many_attempts_and_no_more() -> None:
    assert supervised("sys.exit(7)", max_restarts=2) == (7, [7, 7])


def test_two_attempts_that_get_nowhere_are_enough() -> None:
    assert supervised("sys.exit(7)", progress=["checkpoint-000001.json"]) == (7, [7])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_asked_to_stop_it_tells_the_leader_and_tries_no_more(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def ask() -> None:
        while not Path("ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    asker = threading.Thread(target=ask)
    asker.start()
    code = "rank or pathlib.Path('ready').touch()\ntime.sleep(60)"  # dies of SIGTERM, as one that has no handler yet
    assert supervised(code) == (130, [])
    asker.join()
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("max_restarts", "ended"), [(5, [9, 9]), (1, [9]), (0, [])])
def test_of_those_apart_a_follower_alone_is_started_anew_or_left_out(max_restarts: int, ended: list[int]) -> None:
    """It dies twice; the leader, of which there is one, ends when it has come as often as it may."""
    program = (
        "import os, pathlib, sys, time\n"
        "seen = pathlib.Path('seen-' + os.environ['RANK'])\n"
        "with seen.open('a') as file: file.write('x')\n"
        "follower = pathlib.Path('seen-1')\n"
        "if os.environ['RANK'] == '1': sys.exit(0 if follower.read_text() == 'xxx' else 9)\n"
        f"while not follower.exists() or len(follower.read_text()) <= {len(ended)}: time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
    )
    restarts: list[int] = []
    told = supervise(
        [sys.executable, "-c", program],
        size=2,
        max_restarts=max_restarts,
        restarting=lambda _, number: restarts.append(number),
        apart=True,
    )
    assert (told, restarts) == (0, ended)
    assert Path("seen-0").read_text() == "x"
