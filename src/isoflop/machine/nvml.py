"""What NVIDIA's GPUs have drawn, by their own counters: millijoules since the driver was loaded (Volta and newer)."""

from __future__ import annotations

import os
from typing import Any

from isoflop.core.products import Interval

ACCURACY = 0.05
"""Relative, of a board's reading, as nvidia-smi's manual gives it for power."""


class EnergyCounter:
    """The counters of the GPUs that this run's processes use on this machine."""

    def __init__(self, nvml: Any, handles: list[Any]) -> None:
        self._nvml, self._handles = nvml, handles
        self._before = self._total()

    @staticmethod
    def find() -> EnergyCounter | None:
        """None where there is no GPU, no driver, no ``nvidia-ml-py``, or a GPU that does not count."""
        try:
            import pynvml

            pynvml.nvmlInit()
            handles = [_handle(pynvml, name) for name in _visible(pynvml.nvmlDeviceGetCount())]
            return EnergyCounter(pynvml, handles[: _num_used()]) if handles else None
        except Exception:  # the package's own errors are not ours to know without it
            return None

    def joules(self) -> Interval:
        """Drawn since the last call, or since this counter was found."""
        before, self._before = self._before, self._total()
        drawn = (self._before - before) / 1e3
        return Interval(drawn, (1 - ACCURACY) * drawn, (1 + ACCURACY) * drawn)

    def _total(self) -> int:
        """Millijoules."""
        return sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in self._handles)


def _visible(count: int) -> list[str]:
    """Numbers or UUIDs, in the order in which CUDA has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in named.split(",") if name.strip()]


def _handle(nvml: Any, name: str) -> Any:
    if name.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def _num_used() -> int:
    """By torchrun's variables, or those of our own supervisor, whose processes are all here."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "1")))
