from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from isoflop.train.workers import Workers
from toy import config, environment, recipe

linux = pytest.mark.skipif(sys.platform != "linux", reason="pinning and death signals are Linux's")


@pytest.fixture(scope="module")
def core() -> int:
    return max(os.sched_getaffinity(0))


@linux
def test_a_worker_is_pinned_and_single_threaded_and_trains(core: int) -> None:
    with Workers([core]) as workers:
        assert workers.submit(os.sched_getaffinity, 0).result() == {core}
        assert workers.submit(torch.get_num_threads).result() == 1
        assert workers.submit(os.getpid).result() != os.getpid()
        assert workers.side_by_side(config(), recipe(unique_tokens=1 << 12), "float32") > 0


PARENT = """
import os, time
from isoflop.train.workers import Workers

if __name__ == "__main__":
    workers = Workers([max(os.sched_getaffinity(0))])
    workers.wait_ready()
    print(workers.submit(os.getpid).result(), flush=True)
    workers.submit(time.sleep, 100)
    time.sleep(100)
"""


@linux
def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment())
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    assert worker.is_running()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs([worker], timeout=20)
    assert alive == [] or alive[0].status() == psutil.STATUS_ZOMBIE
