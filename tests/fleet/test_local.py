from __future__ import annotations

import os
import signal
import time

import pytest

from isoflop.core.errors import IsoflopError, TextError
from isoflop.fleet.local import Local


def square(x: int) -> int:
    return x * x


def refusing(x: int) -> int:
    raise TextError("bad", where=f"item {x}", remedy="Mend it")


def dying(x: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize("num_processes", [1, 3])
def test_every_item_is_done(num_processes: int) -> None:
    assert sorted(Local(num_processes).map(square, range(10))) == [x * x for x in range(10)]
    assert list(Local(num_processes).map(square, [])) == []


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_persons_mistake_arrives_as_one(num_processes: int) -> None:
    with pytest.raises(TextError, match=r"item \d: bad. Mend it"):
        list(Local(num_processes).map(refusing, [1, 2]))


def own_process(x: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def test_processes_are_kept_for_the_next_stage() -> None:
    local = Local(2)
    first, second = (set(local.map(own_process, range(6))) for _ in range(2))
    assert os.getpid() not in first | second and first & second


def test_a_killed_worker_is_told_and_the_next_stage_has_others() -> None:
    local = Local(2)
    with pytest.raises(IsoflopError, match="a worker process was killed"):
        list(local.map(dying, [1, 2]))
    assert sorted(local.map(square, [1, 2])) == [1, 4]
