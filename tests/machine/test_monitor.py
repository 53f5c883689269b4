import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from isoflop.core import records
from isoflop.core.errors import DiskError
from isoflop.core.process import PARENT
from isoflop.core.products import Interval, Power
from isoflop.machine.limits import usable_cores
from isoflop.machine.monitor import Monitor, tree_use

WATTS = Power("model", "a test", Interval(4.0, 2.0, 6.0), Interval(1.0, 0.5, 2.0))
BURN = "import time\nwhile time.process_time() < {seconds}: pass"


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_one_last_sample_at_the_end_by_hand() -> None:
    samples: list[records.Monitor] = []
    before, started = time.process_time(), time.monotonic()
    with Monitor(samples.append, power=WATTS, interval_seconds=60) as monitor:
        monitor.stage = "pilots"
        burn(0.2)
    (sample,) = samples
    assert sample.stage == "pilots"
    assert 0.15 < sample.tree_core_seconds <= time.process_time() - before + 0.05  # the kernel counts in 10 ms
    assert 0.2 <= sample.seconds <= time.monotonic() - started
    assert 0 <= sample.cpu_utilisation <= 1
    assert sample.memory_bytes > 1e7
    idle = usable_cores() * sample.seconds - sample.tree_core_seconds
    assert sample.joules_central == pytest.approx(idle * 1.0 + sample.tree_core_seconds * 4.0)
    assert sample.joules_low < sample.joules_central < sample.joules_high


def test_children_count_while_they_live_and_after() -> None:
    samples: list[records.Monitor] = []
    with Monitor(samples.append, power=WATTS, interval_seconds=0.05):
        subprocess.run([sys.executable, "-c", BURN.format(seconds=0.3)], check=True)
    assert len(samples) > 2
    assert sum(sample.tree_core_seconds for sample in samples) >= 0.25


def test_samples_tile_the_time() -> None:
    samples: list[records.Monitor] = []
    started = time.monotonic()
    with Monitor(samples.append, power=WATTS, interval_seconds=0.02):
        while len(samples) < 4:
            time.sleep(0.01)
    total = sum(sample.seconds for sample in samples)
    assert total <= time.monotonic() - started
    assert total >= samples[0].seconds + 3 * 0.02
    assert all(sample.tree_core_seconds >= 0 for sample in samples)


def test_a_grandchild_belongs_to_the_tree() -> None:
    inner = BURN.format(seconds=0.2) + "\nprint('burnt', flush=True)\ninput()"
    outer = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {inner!r}])"
    child = subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    use = tree_use(psutil.Process(child.pid))
    child.communicate(b"\n")
    assert use.core_seconds >= 0.18
    assert use.memory_bytes > 1e7


def test_a_failing_write_is_raised_at_the_end() -> None:
    def full(_: records.Monitor) -> None:
        raise DiskError("the disk is full")

    with pytest.raises(DiskError, match="full"), Monitor(full, power=WATTS, interval_seconds=60):
        pass
    with pytest.raises(KeyError), Monitor(full, power=WATTS, interval_seconds=60):
        raise KeyError("the first error wins")


def test_the_thread_ends_with_the_block() -> None:
    with Monitor(lambda _: None, power=WATTS):
        assert "monitor" in [thread.name for thread in threading.enumerate()]
    assert "monitor" not in [thread.name for thread in threading.enumerate()]


def test_of_processes_that_were_started_together_all_count() -> None:
    sibling = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    child = (
        "import sys, time; from isoflop.core.products import *; from isoflop.machine.monitor import Monitor\n"
        "power = Power('model', '', Interval(1.0, 1.0, 1.0), Interval(0.0, 0.0, 0.0))\n"
        "found = []\n"
        "with Monitor(found.append, power=power): time.sleep(0.5)\n"
        "print(sum(sample.tree_core_seconds for sample in found))"
    )
    try:
        command = [sys.executable, "-c", child]
        environment = os.environ | {PARENT: str(os.getpid())}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    finally:
        sibling.kill()
        sibling.wait()
    assert float(done.stdout) > 0.2  # the sibling's, as this one slept
