"""NVML's part is played by a module of the same name: there is no GPU where these tests run."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from isoflop.core import records
from isoflop.core.products import Interval, Power
from isoflop.machine.measure import _warnings
from isoflop.machine.monitor import Monitor
from isoflop.machine.nvml import ACCURACY, EnergyCounter


class Driver(types.ModuleType):
    """Three GPUs whose counters grow by 1, 10 and 100 J a reading."""

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.millijoules = {0: 5_000_000, 1: 7_000_000, 2: 9_000_000}

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return len(self.millijoules)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetHandleByUUID(self, name: str) -> int:
        return {"GPU-a": 0, "GPU-b": 1, "GPU-c": 2}[name]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        self.millijoules[handle] += 1000 * 10**handle
        return self.millijoules[handle]


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    for name in ("CUDA_VISIBLE_DEVICES", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.mark.parametrize(
    ("environment", "joules"),
    [
        ({}, 1.0),
        ({"CUDA_VISIBLE_DEVICES": "2"}, 100.0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b,GPU-a"}, 10.0),
        ({"WORLD_SIZE": "2"}, 11.0),
        ({"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "3"}, 111.0),
        ({"CUDA_VISIBLE_DEVICES": "1,2", "WORLD_SIZE": "2"}, 110.0),
    ],
)
def test_the_gpus_in_use_are_counted(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], joules: float
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    counter = EnergyCounter.find()
    assert counter is not None
    assert [counter.joules().central for _ in range(2)] == [joules, joules]  # each since the one before
    drawn = counter.joules()
    assert (drawn.low, drawn.high) == pytest.approx(((1 - ACCURACY) * joules, (1 + ACCURACY) * joules))


def test_what_cannot_be_counted_is_not(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-unknown")
    assert EnergyCounter.find() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert EnergyCounter.find() is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    driver.millijoules.clear()
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as where it is not installed
    assert EnergyCounter.find() is None


def test_a_monitors_samples_have_it_in_their_sum() -> None:
    samples: list[records.Monitor] = []
    watts = Power("model", "a test", Interval(4.0, 2.0, 6.0), Interval(1.0, 0.5, 2.0))
    with Monitor(samples.append, power=watts, interval_seconds=60):
        pass
    (sample,) = samples
    assert sample.gpu_joules == 1.0
    assert sample.joules_central > 1.0 and sample.joules_low >= 0.95


def test_a_gpu_without_a_counter_is_warned_of() -> None:
    gpu, cpu, known = torch.device("cuda"), torch.device("cpu"), Interval(600.0, 570.0, 630.0)
    assert [warning.code for warning in _warnings(0.0, gpu, None)] == ["gpu_energy_unknown"]
    assert not list(_warnings(0.0, gpu, known)) and not list(_warnings(0.0, cpu, None))
