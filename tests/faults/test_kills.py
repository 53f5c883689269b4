"""Runs that are killed, stopped and damaged end with the bits of one that was left alone.

``FAULTS`` says how many of each kind (``make test-faults N=30``). Runs are forked from a process that has imported what
they need and computed nothing, which is most of what starting one takes.
"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import forkserver, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from faults import child
from isoflop.core.journal import read_records
from isoflop.core.records import Saved, Warned
from toy import rarely

NUM_FAULTS = int(os.environ.get("FAULTS", "1"))
GRACE_SECONDS = 5.0
FORKED = get_context("forkserver")


@pytest.fixture(scope="module", autouse=True)
def nursery() -> None:
    """What runs are forked from, if no other test has started it: then they import for themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        FORKED.set_forkserver_preload(["faults.child"])
        forkserver.ensure_running()


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """What a run that is left alone ends with, and the seconds that its training takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder, corpus)
    wait_until_it_trains(folder, process)
    started = time.monotonic()
    assert ended(process) == 0
    return (folder / "done").read_text(), time.monotonic() - started


def start(folder: Path, corpus: Path) -> BaseProcess:
    process = FORKED.Process(target=child.train, args=(folder, corpus))
    process.start()
    return process


def ended(process: BaseProcess, *, within: float = 120) -> int | None:
    """Its exit code."""
    process.join(within)
    return process.exitcode


def wait_until_it_trains(folder: Path, process: BaseProcess) -> None:
    deadline = time.monotonic() + 60
    while not (folder / "started").exists():
        assert process.is_alive() and time.monotonic() < deadline, "it does not start"
        time.sleep(0.01)
    (folder / "started").unlink()


def send(process: BaseProcess, number: signal.Signals) -> None:
    assert process.pid is not None
    os.kill(process.pid, number)


def finish(folder: Path, corpus: Path) -> str:
    """Lets the run end and returns what it ended with."""
    assert ended(start(folder, corpus)) == 0
    return (folder / "done").read_text()


def warned(folder: Path) -> list[str]:
    records = (stamped.record for stamped in read_records(folder / "records.jsonl"))
    return [record.code for record in records if isinstance(record, Warned)]


@pytest.mark.parametrize("number", range(NUM_FAULTS))
def test_killed_at_random_instants_twice_in_a_row(
    corpus: Path, undisturbed: tuple[str, float], tmp_path: Path, number: int
) -> None:
    """The second kill comes soon after the first one's resume, often before anything new was saved."""
    expected, seconds = undisturbed
    generator = np.random.default_rng(number)
    for longest in (seconds, 0.3 * seconds):
        process = start(tmp_path, corpus)
        wait_until_it_trains(tmp_path, process)
        time.sleep(generator.uniform(0, longest))
        process.kill()
        process.join()
    assert finish(tmp_path, corpus) == expected
    assert warned(tmp_path) == []


@pytest.mark.parametrize("number", range(NUM_FAULTS))
@pytest.mark.parametrize("kind", [signal.SIGTERM, rarely(signal.SIGUSR1), rarely(signal.SIGINT)])
def test_asked_to_stop_it_saves_within_the_grace_and_loses_nothing(
    corpus: Path, undisturbed: tuple[str, float], tmp_path: Path, kind: signal.Signals, number: int
) -> None:
    expected, seconds = undisturbed
    process = start(tmp_path, corpus)
    wait_until_it_trains(tmp_path, process)
    time.sleep(np.random.default_rng(number).uniform(0.1, 0.7) * seconds)
    send(process, kind)
    assert ended(process, within=GRACE_SECONDS) == 130
    saves = [s.record for s in read_records(tmp_path / "records.jsonl") if isinstance(s.record, Saved)]
    assert saves[-1].step > 0
    assert finish(tmp_path, corpus) == expected


@pytest.mark.parametrize("number", range(NUM_FAULTS))
def test_halted_for_a_while_it_goes_on(
    corpus: Path, undisturbed: tuple[str, float], tmp_path: Path, number: int
) -> None:
    expected, seconds = undisturbed
    process = start(tmp_path, corpus)
    wait_until_it_trains(tmp_path, process)
    time.sleep(np.random.default_rng(number).uniform(0, 0.7) * seconds)
    send(process, signal.SIGSTOP)
    time.sleep(1.0)
    send(process, signal.SIGCONT)
    assert ended(process) == 0
    assert (tmp_path / "done").read_text() == expected


@pytest.mark.parametrize("number", range(NUM_FAULTS))
@pytest.mark.parametrize("kind", ["safetensors", rarely("json")])
def test_killed_and_its_newest_checkpoint_damaged_it_goes_on_from_the_one_before(
    corpus: Path, undisturbed: tuple[str, float], tmp_path: Path, kind: str, number: int
) -> None:
    expected, seconds = undisturbed
    generator = np.random.default_rng(number)
    process = start(tmp_path, corpus)
    wait_until_it_trains(tmp_path, process)
    time.sleep(generator.uniform(0.4, 0.8) * seconds)
    process.kill()
    process.join()
    newest = sorted((tmp_path / "run").glob("checkpoint-*.json"))[-1].with_suffix(f".{kind}")
    data = bytearray(newest.read_bytes())
    data[int(generator.integers(len(data) - 2))] ^= 1 << int(generator.integers(5))
    newest.write_bytes(data)
    assert finish(tmp_path, corpus) == expected
    assert warned(tmp_path) in ([], ["checkpoint_refused"])  # [] for white space in the JSON
    assert kind == "json" or warned(tmp_path)
