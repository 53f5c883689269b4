from __future__ import annotations

import threading
from pathlib import Path

import pytest

from isoflop.core.errors import IsoflopError
from isoflop.core.journal import RecordLog
from isoflop.core.records import Evaluation, Monitor, StageFinished, Step
from isoflop.report import mirror as module
from isoflop.report.mirror import SINKS, TensorBoard, mirror
from isoflop.study import Study


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float, int]] = []
        self.closed = False

    def add(self, name: str, value: float, step: int, when: float) -> None:
        assert when > 1e9
        self.points.append((name, value, step))

    def close(self) -> None:
        self.closed = True


def step(number: int, **changes: float) -> Step:
    return Step("target", number, 64, 1.0, 3.0, 0.01, 1.5, 0.0, 1e4, 1e9, **changes)


def test_every_curve_by_its_step(tmp_path: Path) -> None:
    study, sink = Study(tmp_path), Kept()
    log = RecordLog(study.records)
    log.write(step(7, update_ratio=0.002))
    log.write(Evaluation("target", "val", 7, 64, 3.1, 1.2, 1000, 0.5))
    log.write(Monitor("train", 0.9, 3.6, 10**9, 2.0, 10.0, 20.0, 30.0))
    log.close()
    assert mirror(study, sink, follow=False) == 11 and sink.closed
    points = {name: (value, number) for name, value, number in sink.points}
    assert points["target/loss"] == (3.0, 7) and points["target/update_ratio"] == (0.002, 7)
    assert "target/noise_scale" not in points
    assert points["target/val_bits_per_byte"] == (1.2, 7)
    assert points["machine/watts"][0] == 10.0 and points["machine/memory_bytes"][0] == 1e9


def test_followed_until_the_study_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    study, sink = Study(tmp_path), Kept()
    log = RecordLog(study.records)
    log.write(step(1))
    thread = threading.Thread(target=mirror, args=(study, sink), kwargs={"follow": True})
    thread.start()
    log.write(step(2))
    log.write(StageFinished("report", 1.0))
    thread.join(timeout=10)
    assert not thread.is_alive() and sink.closed
    assert [number for name, _, number in sink.points if name == "target/loss"] == [1, 2]


def test_event_files_hold_the_curve(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    study = Study(tmp_path)
    log = RecordLog(study.records)
    log.write(step(7))
    log.close()
    mirror(study, TensorBoard(tmp_path / "events", "study"), follow=False)
    events = reader.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("target/loss")] == [(7, 3.0)]


@pytest.mark.parametrize("name", SINKS)
def test_a_sink_that_is_not_installed_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorboard", "torch.utils.tensorboard", "wandb", "mlflow"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(IsoflopError, match=rf"isoflop\[{name}\]"):
        SINKS[name](tmp_path / "out", "study")
    assert not (tmp_path / "out").exists()
