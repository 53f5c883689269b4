"""CodeCarbon's part is played by a module of the same name; it is no dependency of these tests."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import time
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from isoflop.core.journal import RecordLog, read_records
from isoflop.core.records import EnergyChecked, Monitor
from isoflop.machine.codecarbon import checked


class Tracker:
    """One kWh in all."""

    def __init__(self, **options: Any) -> None:
        assert not options["save_to_file"] and not options["save_to_api"]

    def start(self) -> None: ...

    def stop(self) -> None:
        self.final_emissions_data = SimpleNamespace(energy_consumed=1.0)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("codecarbon")
    module.__spec__ = importlib.util.spec_from_loader("codecarbon", None)
    module.OfflineEmissionsTracker = Tracker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3.3.2")
    return module


def sample(joules: float, seconds: float) -> Monitor:
    return Monitor("train", 0.5, 1.0, 1, seconds, joules / 2, joules, 2 * joules)


def told(path: Path) -> list[EnergyChecked]:
    return [stamped.record for stamped in read_records(path) if isinstance(stamped.record, EnergyChecked)]


def test_it_meters_beside_ours(installed: types.ModuleType, tmp_path: Path) -> None:
    log = RecordLog(tmp_path / "records.jsonl")
    log.write(sample(1000.0, 3600.0))  # of a session before
    with checked(tmp_path / "records.jsonl", log.write):
        time.sleep(0.2)
        log.write(sample(10.0, 0.1))
        log.write(sample(20.0, 0.0))
    (found,) = told(tmp_path / "records.jsonl")
    assert (found.tool, found.joules) == ("CodeCarbon 3.3.2", 3.6e6)
    assert (found.joules_low, found.joules_central, found.joules_high) == (15.0, 30.0, 60.0)
    assert 0.2 <= found.seconds < 5


def test_one_that_fails_to_start_says_nothing(installed: types.ModuleType, tmp_path: Path) -> None:
    installed.OfflineEmissionsTracker = None  # type: ignore[attr-defined]
    with checked(tmp_path / "records.jsonl", RecordLog(tmp_path / "records.jsonl").write):
        pass
    assert told(tmp_path / "records.jsonl") == []


def test_one_that_hides_its_own_errors_says_nothing(
    installed: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tracker, "stop", lambda self: None)
    with checked(tmp_path / "records.jsonl", RecordLog(tmp_path / "records.jsonl").write):
        pass
    assert told(tmp_path / "records.jsonl") == []


def test_without_it_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with checked(tmp_path / "records.jsonl", lambda record: pytest.fail("written")):
        pass
