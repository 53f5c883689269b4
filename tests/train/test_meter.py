from __future__ import annotations

import pytest
import torch

from isoflop.core.records import Record, Step
from isoflop.model.count import flops_per_token
from isoflop.train import meter
from isoflop.train.meter import RECORD_SECONDS, StepMeter
from isoflop.train.trainer import Trainer
from toy import config, recipe, stream


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(meter, "time", clock)
    return clock


def results(*rows: tuple[float, float, float]) -> list[tuple[torch.Tensor, ...]]:
    return [tuple(torch.tensor(value) for value in row) for row in rows]


def test_the_record_by_hand(clock: Clock) -> None:
    written: list[Record] = []
    trainer = Trainer(config(), recipe(), [stream()], dtype="float32")
    measured = StepMeter(written.append, "target", trainer)
    for result in results((4.0, 1.0, 0.0), (2.0, 3.0, 1.0), (3.0, 2.0, 0.0), (3.0, 2.0, 0.0)):
        measured.add(result)  # type: ignore[arg-type]
    trainer.num_done, clock.now = 20, 102.0
    step = measured.flush()
    assert written == [step]
    speed = 4 * 64 / 2.0
    assert step == Step(
        run="target",
        step=20,
        tokens=20 * 64,
        seconds=2.0,
        loss=3.0,
        learning_rate=0.005,  # half of the schedule done: between warmup and decay
        gradient_norm=2.0,
        clipped=0.25,
        tokens_per_second=speed,
        flops_per_second=speed * flops_per_token(config(), context=16),
        data_share=0.0,
    )


def test_due_after_its_interval_and_not_after_a_restart(clock: Clock) -> None:
    measured = StepMeter(lambda record: None, "target", Trainer(config(), recipe(), [stream()], dtype="float32"))
    assert not measured.due
    clock.now += RECORD_SECONDS
    assert measured.due
    measured.restart()
    assert not measured.due


def test_no_steps_no_record(clock: Clock) -> None:
    written: list[Record] = []
    measured = StepMeter(written.append, "target", Trainer(config(), recipe(), [stream()], dtype="float32"))
    clock.now += 5
    assert measured.flush() is None
    assert written == []


def test_changes_and_waits_of_real_steps(clock: Clock) -> None:
    trainer = Trainer(config(), recipe(micro_batches=2), [stream()], dtype="float32")
    measured = StepMeter(lambda record: None, "target", trainer)
    measured.restart()
    measured.add(trainer.step())
    clock.now += 2.0
    step = measured.flush()
    assert step is not None and step.update_ratio is not None and step.data_share is not None
    assert 0 < step.update_ratio < 0.1 and 0 < step.data_share < 1
