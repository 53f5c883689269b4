"""What a core of this machine draws: calibrated by its own energy counters where it has them, else by its CPU's table.

Either way a core's joules are watts times seconds; what a GPU draws, its own counter tells (`nvml`). The table is
Cloud Carbon Footprint's: P = sum over virtual CPUs of min + utilisation x (max - min). Here min and max are the watts
of a whole server at active idle and at full load, divided by its hardware threads, averaged over published
SPECpower_ssj2008 results of the CPU's generation (https://www.spec.org/power_ssj2008/). Memory, board and power supply
are therefore inside; cooling (PUE) is not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isoflop.core.products import Interval, Power
from isoflop.machine.limits import usable_cores

_RAPL_SECONDS, _RAPL_ROUNDS = 0.2, 3
_TABLE = "SPECpower results of 2026-03-09, averaged as in Cloud Carbon Footprint coefficients b0032d9"


@dataclass(frozen=True)
class _Watts:
    idle: float
    """Watts of a virtual CPU at active idle."""
    busy: float
    """Watts of a virtual CPU at full load."""


_SERVERS = {
    "Haswell": _Watts(1.857, 5.595),
    "Broadwell": _Watts(0.713, 3.685),
    "Skylake": _Watts(0.613, 4.104),
    "Cascade Lake": _Watts(0.690, 4.063),
    "Ice Lake": _Watts(0.767, 3.758),
    "Sapphire Rapids": _Watts(1.036, 4.160),
    "Emerald Rapids": _Watts(0.814, 4.482),
    "Granite Rapids": _Watts(0.582, 2.527),
    "EPYC 1st Gen": _Watts(0.847, 2.604),
    "EPYC 2nd Gen": _Watts(0.474, 1.693),
    "EPYC 3rd Gen": _Watts(0.456, 1.957),
    "EPYC 4th Gen": _Watts(0.739, 2.282),
    "EPYC 5th Gen": _Watts(0.235, 1.323),
}
"""Cloud Carbon Footprint's coefficients for AWS, except EPYC 5th Gen: the published 3.68 and 8.96 W lie far above every
result of that generation in its own file (0.90 and 4.38 W at most). The mean of the file's 41 results for EPYC 9xx5
stands here instead.
"""

_INTEL_MODELS = {
    63: "Haswell",
    79: "Broadwell",
    106: "Ice Lake",
    108: "Ice Lake",
    143: "Sapphire Rapids",
    207: "Emerald Rapids",
    173: "Granite Rapids",
}


def detect_power(*, powercap: Path = Path("/sys/class/powercap"), cpuinfo: Path = Path("/proc/cpuinfo")) -> Power:
    """This machine's watts for a core: method ``rapl`` where the counters can be read (takes a second), else ``model``.

    ``rapl`` covers processor package and memory controller only; its intervals are the spread of the calibration.
    ``model`` takes the CPU's generation as central (the table's median for an unknown CPU), and the least and the
    largest of all server generations as bounds.
    """
    zones = _rapl_zones(powercap)
    if zones:
        return _rapl_power(zones)
    return _modelled_power(cpuinfo.read_text() if cpuinfo.exists() else "")


def joules(power: Power, *, busy_core_seconds: float, wall_seconds: float, num_cores: int) -> Interval:
    """Energy of a process tree busy for ``busy_core_seconds`` on a machine of ``num_cores`` virtual CPUs.

    E = idle x (cores x wall - busy) + active x busy. The idle draw of the *whole* machine is attributed to us while we
    run, as nobody else is assumed to need it then; on a shared machine that is an upper bound.
    """
    idle_core_seconds = max(num_cores * wall_seconds - busy_core_seconds, 0.0)

    def energy(idle_watts: float, active_watts: float) -> float:
        return idle_watts * idle_core_seconds + active_watts * busy_core_seconds

    idle, active = power.idle_watts_per_core, power.active_watts_per_core
    return Interval(
        energy(idle.central, active.central), energy(idle.low, active.low), energy(idle.high, active.high), active.level
    )


def _modelled_power(cpuinfo: str) -> Power:
    name = _generation(cpuinfo)
    idle, busy = [watts.idle for watts in _SERVERS.values()], [watts.busy for watts in _SERVERS.values()]
    central = _SERVERS[name] if name else _Watts(statistics.median(idle), statistics.median(busy))
    match = f"central value for {name}" if name else "CPU not in the table, central value is its median"
    return Power(
        method="model",
        source=f"modelled, not measured: {_TABLE}; {match}; "
        f"bounds are the extremes of {len(_SERVERS)} server generations",
        active_watts_per_core=Interval(central.busy, min(busy), max(busy)),
        idle_watts_per_core=Interval(central.idle, min(idle), max(idle)),
    )


def _generation(cpuinfo: str) -> str | None:
    """The table's name for the first CPU in ``/proc/cpuinfo``; None for a CPU that it does not have."""
    pairs = (line.partition(":") for line in cpuinfo.split("\n\n", maxsplit=1)[0].splitlines())
    cpu = {key.strip(): value.strip() for key, _, value in pairs}
    vendor = cpu.get("vendor_id")
    if vendor not in ("AuthenticAMD", "GenuineIntel"):
        return None
    family, model, stepping = (int(cpu.get(key, "-1")) for key in ("cpu family", "model", "stepping"))
    if vendor == "AuthenticAMD":
        return _amd_generation(family, model) if "EPYC" in cpu.get("model name", "") else None
    if (family, model) == (
        6,
        85,
    ):  # one model number, told apart by stepping; Cooper Lake (above 7) is not in the table
        return "Skylake" if stepping <= 4 else "Cascade Lake" if stepping <= 7 else None
    return _INTEL_MODELS.get(model) if family == 6 else None


def _amd_generation(family: int, model: int) -> str | None:
    """Server models of Zen: Naples, Rome, Milan, Genoa and Bergamo, Turin (Linux, arch/x86/kernel/cpu/amd.c)."""
    if family == 23:
        return "EPYC 1st Gen" if model < 0x10 else "EPYC 2nd Gen" if 0x30 <= model < 0x40 else None
    if family == 25:
        return "EPYC 3rd Gen" if model < 0x10 else "EPYC 4th Gen" if model < 0x20 or 0xA0 <= model < 0xB0 else None
    return "EPYC 5th Gen" if family == 26 and model < 0x20 else None


def _rapl_zones(powercap: Path) -> list[Path]:
    """Readable package zones (``intel-rapl:0``) and their memory zones (``intel-rapl:0:1`` named dram)."""
    zones = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        is_package = zone.name.count(":") == 1
        try:
            _microjoules(zone)
            if is_package or (zone / "name").read_text().strip() == "dram":
                zones.append(zone)
        except OSError:  # absent, or readable by root only
            continue
    return zones


def _rapl_power(zones: list[Path]) -> Power:
    """Watts of each core that the matrix products may load: median and extremes of several rounds."""
    num_cores = usable_cores()
    rounds = [
        (_measured_watts(zones, lambda: time.sleep(_RAPL_SECONDS)), _measured_watts(zones, _keep_cores_busy))
        for _ in range(_RAPL_ROUNDS)
    ]
    return Power(
        method="rapl",
        source=f"calibrated by RAPL counters of {len(zones)} zones (packages and memory; not board, fans, power "
        f"supply), {_RAPL_ROUNDS} times {_RAPL_SECONDS} s at rest and {_RAPL_SECONDS} s of matrix products on "
        f"{num_cores} cores; bounds are the calibration's extremes",
        active_watts_per_core=_spread([max(idle, busy) / num_cores for idle, busy in rounds]),
        idle_watts_per_core=_spread([idle / num_cores for idle, _ in rounds]),
    )


def _spread(watts: list[float]) -> Interval:
    return Interval(statistics.median(watts), min(watts), max(watts))


def _measured_watts(zones: list[Path], work: Callable[[], None]) -> float:
    before, started = [_microjoules(zone) for zone in zones], time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    spent = 0
    for zone, start in zip(zones, before, strict=True):
        end = _microjoules(zone)
        wrapped = int((zone / "max_energy_range_uj").read_text()) if end < start else 0
        spent += end - start + wrapped
    return spent / 1e6 / seconds


def _microjoules(zone: Path) -> int:
    return int((zone / "energy_uj").read_text())


def _keep_cores_busy() -> None:
    square = np.ones((512, 512), dtype=np.float32)
    end = time.perf_counter() + _RAPL_SECONDS
    while time.perf_counter() < end:
        square @ square
