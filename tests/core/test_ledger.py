import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core import ledger as module
from isoflop.core.errors import DiskError
from isoflop.core.journal import RecordLog, Stamped, read_records
from isoflop.core.ledger import UNATTRIBUTED, Ledger, by_stage, spent_seconds
from isoflop.core.records import Spent, StageStarted


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Book:
    """Collects what a ledger writes; ``full`` makes it fail as a full disk would."""

    def __init__(self) -> None:
        self.spent: list[Spent] = []
        self.full = False

    def write(self, record: Spent) -> None:
        if self.full:
            raise DiskError("the disk is full")
        self.spent.append(record)

    def stamped(self) -> list[Stamped]:
        return [Stamped(0.0, record) for record in self.spent]


def test_inner_time_is_not_counted_in_the_outer() -> None:
    clock, book = Clock(), Book()
    ledger = Ledger(book.write, clock=clock)
    clock.now += 1
    with ledger.activity("pilots", "productive"):
        clock.now += 10
        with ledger.activity("pilots", "checkpoint"):
            clock.now += 2
        clock.now += 5
    clock.now += 3
    ledger.close()
    assert by_stage(book.stamped()) == {
        UNATTRIBUTED: 4.0,
        ("pilots", "productive"): 15.0,
        ("pilots", "checkpoint"): 2.0,
    }
    assert spent_seconds(book.stamped()) == 21.0


def test_an_exception_still_books_its_activity() -> None:
    clock, book = Clock(), Book()
    ledger = Ledger(book.write, clock=clock)
    with pytest.raises(ZeroDivisionError), ledger.activity("law", "fit"):
        clock.now += 4
        raise ZeroDivisionError
    clock.now += 1
    ledger.close()
    assert by_stage(book.stamped()) == {("law", "fit"): 4.0, UNATTRIBUTED: 1.0}


STEPS = st.recursive(
    st.floats(min_value=0, max_value=1e4) | st.just("flush"),
    lambda inner: st.tuples(st.sampled_from(["a", "b", "c"]), st.lists(inner, max_size=4)),
    max_leaves=25,
)


@given(st.lists(STEPS, max_size=6))
def test_activities_sum_to_the_wall_time(steps: list[object]) -> None:
    clock, book = Clock(), Book()
    ledger = Ledger(book.write, clock=clock)

    def play(step: object) -> None:
        if isinstance(step, float):
            clock.now += step
        elif isinstance(step, tuple):
            with ledger.activity("stage", step[0]):
                for inner in step[1]:
                    play(inner)
        else:
            ledger.flush()

    for step in steps:
        play(step)
    ledger.close()
    assert spent_seconds(book.stamped()) == pytest.approx(clock.now - 100.0, abs=1e-9)
    assert all(record.seconds > 0 for record in book.spent)


def test_time_that_could_not_be_written_stays_due() -> None:
    clock, book = Clock(), Book()
    ledger = Ledger(book.write, clock=clock)
    clock.now += 7
    book.full = True
    with pytest.raises(DiskError):
        ledger.flush()
    book.full = False
    ledger.close()
    assert spent_seconds(book.stamped()) == 7.0


def test_a_thread_books_long_activities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    book = Book()
    with Ledger(book.write) as ledger, ledger.activity("run", "productive"):
        deadline = time.monotonic() + 10
        while len(book.spent) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(book.spent) >= 4


def test_other_records_are_no_spending() -> None:
    assert spent_seconds([Stamped(0.0, StageStarted("law")), Stamped(0.0, Spent("law", "fit", 2.0))]) == 2.0


LONG_ACTIVITY = """
import sys, time
from pathlib import Path
from isoflop.core import ledger
from isoflop.core.journal import RecordLog
ledger.FLUSH_SECONDS = 0.02
with ledger.Ledger(RecordLog(Path(sys.argv[1])).write) as book, book.activity("run", "productive"):
    print("working", flush=True)
    time.sleep(60)
"""


def test_a_kill_loses_only_the_last_moments(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    child = subprocess.Popen([sys.executable, "-c", LONG_ACTIVITY, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    deadline = time.monotonic() + 20
    while ("run", "productive") not in by_stage(read_records(path)) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    child.communicate()
    assert ("run", "productive") in by_stage(read_records(path))
    RecordLog(path).close()  # the log goes on after the kill
