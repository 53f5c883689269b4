from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from isoflop.core.errors import LostError, TextError
from isoflop.fleet.local import Local
from isoflop.text.tokenizer import require_vocab_size


def square(x: int) -> int:
    print(f"{x} is squared")
    return x * x


def test_one_process_is_this_one() -> None:
    assert list(Local(1).map(own_process, [1, 2])) == [os.getpid()] * 2
    assert list(Local(2).map(own_process, [1])) == [os.getpid()]  # one piece is not worth another process
    with pytest.raises(TextError, match="a vocabulary of 7"):
        list(Local(1).map(require_vocab_size, [7, 8]))


def test_a_job_here_is_done_when_its_result_is_asked_for(tmp_path: Path) -> None:
    first, second = Local(1, tmp_path).submit(square, [3, 4])
    assert first.state == "waiting" and first.logs() == ""
    assert first.result() == 9 and first.state == "done" and first.logs() == "3 is squared\n"
    second.cancel()
    assert second.state == "cancelled"
    with pytest.raises(LostError):
        second.result()


def own_process(x: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def test_processes_are_kept_for_the_next_stage() -> None:
    local = Local(2)
    first, second = (set(local.map(own_process, range(6))) for _ in range(2))
    assert os.getpid() not in first | second and first & second
