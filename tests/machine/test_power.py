import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.codec import decode, encode
from isoflop.core.products import Interval, Power
from isoflop.machine import power as module
from isoflop.machine.power import detect_power, joules

WATTS = Power("model", "a test", Interval(4.0, 2.0, 6.0), Interval(1.0, 0.5, 2.0))


class Cpu(NamedTuple):
    vendor: str
    family: int
    model: int
    stepping: int
    name: str = "AMD EPYC"

    def info(self, folder: Path) -> Path:
        """Two processors of this kind as Linux describes them."""
        path = folder / "cpuinfo"
        pairs = [("vendor_id", self.vendor), ("cpu family", self.family), ("model", self.model)]
        pairs += [("model name", self.name), ("stepping", self.stepping)]
        one = "".join(f"{key}\t: {value}\n" for key, value in pairs)
        path.write_text(f"processor\t: 0\n{one}\nprocessor\t: 1\n{one}\n")
        return path


def modelled(path: Path) -> Power:
    return detect_power(powercap=path.parent / "absent", cpuinfo=path)


@pytest.mark.parametrize(
    ("cpu", "generation", "idle", "active"),
    [
        (Cpu("AuthenticAMD", 23, 1, 2), "EPYC 1st Gen", 0.847, 2.604),
        (Cpu("AuthenticAMD", 23, 49, 0), "EPYC 2nd Gen", 0.474, 1.693),
        (Cpu("AuthenticAMD", 25, 1, 1), "EPYC 3rd Gen", 0.456, 1.957),
        (Cpu("AuthenticAMD", 25, 17, 1), "EPYC 4th Gen", 0.739, 2.282),
        (Cpu("AuthenticAMD", 25, 160, 2), "EPYC 4th Gen", 0.739, 2.282),
        (Cpu("AuthenticAMD", 26, 2, 1), "EPYC 5th Gen", 0.235, 1.323),
        (Cpu("GenuineIntel", 6, 63, 2), "Haswell", 1.857, 5.595),
        (Cpu("GenuineIntel", 6, 85, 4), "Skylake", 0.613, 4.104),
        (Cpu("GenuineIntel", 6, 85, 7), "Cascade Lake", 0.690, 4.063),
        (Cpu("GenuineIntel", 6, 106, 6), "Ice Lake", 0.767, 3.758),
        (Cpu("GenuineIntel", 6, 143, 8), "Sapphire Rapids", 1.036, 4.160),
        (Cpu("GenuineIntel", 6, 207, 2), "Emerald Rapids", 0.814, 4.482),
        (Cpu("GenuineIntel", 6, 173, 1), "Granite Rapids", 0.582, 2.527),
    ],
)
def test_known_generations(tmp_path: Path, cpu: Cpu, generation: str, idle: float, active: float) -> None:
    power = modelled(cpu.info(tmp_path))
    assert power.method == "model"
    assert "modelled, not measured" in power.source
    assert f"central value for {generation};" in power.source
    assert (power.idle_watts_per_core.central, power.active_watts_per_core.central) == (idle, active)


@pytest.mark.parametrize(
    "cpu",
    [
        Cpu("GenuineIntel", 6, 85, 11, "Cooper Lake"),
        Cpu("GenuineIntel", 6, 151, 2, "12th Gen Intel(R) Core(TM)"),
        Cpu("AuthenticAMD", 25, 33, 0, "AMD Ryzen 9 5950X"),
        Cpu("AuthenticAMD", 27, 1, 0, "AMD EPYC"),
        Cpu("Somebody", 1, 1, 1, "Else"),
    ],
)
def test_unknown_cpus_take_the_median_of_thirteen(tmp_path: Path, cpu: Cpu) -> None:
    power = modelled(cpu.info(tmp_path))
    assert power.active_watts_per_core == Interval(3.685, 1.323, 5.595)
    assert power.idle_watts_per_core == Interval(0.713, 0.235, 1.857)
    assert "CPU not in the table" in power.source


def test_no_cpuinfo_and_an_arm_one(tmp_path: Path) -> None:
    absent = modelled(tmp_path / "cpuinfo")
    (tmp_path / "arm").write_text("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n")
    assert modelled(tmp_path / "arm") == absent
    assert absent.active_watts_per_core.central == 3.685


def test_this_machine_has_ordered_intervals_that_survive_json() -> None:
    power = detect_power()
    for interval in (power.idle_watts_per_core, power.active_watts_per_core):
        assert 0 < interval.low <= interval.central <= interval.high
    assert power.idle_watts_per_core.central <= power.active_watts_per_core.central
    assert decode(Power, json.loads(json.dumps(encode(power)))) == power


def test_energy_by_hand() -> None:
    # 2 cores for 10 s, 15 of 20 core-seconds busy: 5 idle ones at 1 W and 15 busy ones at 4 W
    energy = joules(WATTS, busy_core_seconds=15.0, wall_seconds=10.0, num_cores=2)
    assert energy == Interval(65.0, 32.5, 100.0)


def test_an_idle_machine_is_ours_in_full() -> None:
    assert joules(WATTS, busy_core_seconds=0.0, wall_seconds=10.0, num_cores=4).central == 40.0


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 256), st.floats(0, 1e6))
def test_energy_is_ordered_and_grows_with_work(wall: float, busy: float, cores: int, more: float) -> None:
    less_busy = joules(WATTS, busy_core_seconds=busy, wall_seconds=wall, num_cores=cores)
    busier = joules(WATTS, busy_core_seconds=busy + more, wall_seconds=wall, num_cores=cores)
    assert 0 <= less_busy.low <= less_busy.central <= less_busy.high
    assert busier.central >= less_busy.central * (1 - 1e-12)


def make_zone(root: Path, name: str, label: str, microjoules: int, wrap: int = 10**9) -> Path:
    zone = root / name
    zone.mkdir(parents=True)
    (zone / "name").write_text(label + "\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text(f"{wrap}\n")
    return zone


def test_watts_are_calibrated_by_counters_where_they_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = make_zone(tmp_path, "intel-rapl:0", "package-0", 10**9 - 3_000_000)
    memory = make_zone(tmp_path, "intel-rapl:0:1", "dram", 0)
    make_zone(tmp_path, "intel-rapl:0:0", "core", 0)  # inside the package: would be counted twice
    (tmp_path / "intel-rapl:1").mkdir()  # unreadable
    now = [0.0]

    def draw(watts: float) -> None:
        """One second in which the package draws ``watts`` (its counter wraps at 1 kJ) and the memory two."""
        now[0] += 1.0
        for zone, drawn in ((package, watts), (memory, 2.0)):
            counter = int((zone / "energy_uj").read_text()) + round(drawn * 1e6)
            (zone / "energy_uj").write_text(str(counter % 10**9))

    busy_watts = iter([38.0, 34.0, 42.0])
    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0], sleep=lambda _: draw(10.0)))
    monkeypatch.setattr(module, "_keep_cores_busy", lambda: draw(next(busy_watts)))
    power = detect_power(powercap=tmp_path)
    assert power.method == "rapl"
    assert "2 zones" in power.source
    assert power.idle_watts_per_core.central == pytest.approx(3.0)
    active = power.active_watts_per_core
    assert (active.low, active.central, active.high) == pytest.approx((9.0, 10.0, 11.0))


def test_keeping_cores_busy_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RAPL_SECONDS", 0.01)
    started = time.process_time()
    module._keep_cores_busy()
    assert time.process_time() > started
