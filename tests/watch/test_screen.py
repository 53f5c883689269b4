from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from isoflop.core import records
from isoflop.core.journal import Stamped
from isoflop.core.records import Record
from isoflop.machine.readings import GPU, Readings, read_machine
from isoflop.watch.screen import Frame, Seen, bar, gauges, screen, sparkline

NOW = Readings(
    cores=[1.0, 0.0, 0.5],
    memory_bytes=4 * 2**30,
    total_bytes=16 * 2**30,
    free_disk_bytes=12_000_000_000,
    gpus=[GPU("H200", 0.75, 40 * 2**30, 141 * 2**30, 512.0, 61.0)],
)


def step(number: int, loss: float) -> records.Step:
    return records.Step("target", number, 512 * number, 1.0, loss, 0.01, 1.0, 0.0, 11_300.0, 2e11, data_share=0.002)


def seen(*found: Record) -> Seen:
    made = Seen()
    made.add(Stamped(0.0, record) for record in found)
    return made


def drawn(state: Seen, frame: Frame) -> str:
    console = Console(file=io.StringIO(), width=110, color_system=None)
    console.print(screen(state, frame))
    return console.file.getvalue()  # type: ignore[attr-defined]


TRAINING = (
    records.StageStarted("train"),
    records.RunStarted("target", "target", 2, 64, 1, 1, 1, 512, 400, 0.01, 0, 1, "float32", False, 0),
    step(50, 4.0),
    step(100, 3.0),
    records.Spent("train", "productive", 90.0),
    records.Spent("plan", "productive", 60.0),
    records.Spent("train", "compile", 50.0),
    records.Monitor("train", 0.9, 9.0, 2 * 2**30, 5.0, 20.0, 30.0, 50.0),
    records.Evaluation("target", "val", 100, 51_200, 3.1, 1.87, 10_000, 0.5),
    records.Alert("target", 100, "slow", "half the speed of a minute ago"),
)
FRAME = Frame("demo-study", 600.0, 1e12, None, NOW)


def test_one_screen_has_what_a_person_asks_for() -> None:
    told = drawn(seen(*TRAINING), FRAME)
    for part in (
        "demo-study · train",
        "33% of 10 min",
        "step 100 of 400",
        "loss     3.000",
        "1.870 bits per byte on val",
        "11.3 ktokens/s, 20% of the peak, 0.2% waiting for text",
        "productive 75.0%, compile 25.0%",
        "█▁▅ 50% of 3",
        "4.0 of 16 GiB (2.0 ours); 12 GB of disk free",
        "6.0 W [4.0, 10.0]",
        "40 of 141 GiB, 512 W, 61 °C  H200",
        "slow: half the speed of a minute ago",
    ):
        assert part in told, (part, told)
    assert len(told.splitlines()) < 24


def test_a_study_that_has_not_begun() -> None:
    told = drawn(Seen(), Frame("new", None, None, None, NOW))
    assert "new · not begun" in told and "loss" not in told


def test_another_run_begins_anew() -> None:
    again = seen(*TRAINING, records.RunStarted("p1", "pilot", 2, 64, 1, 1, 1, 512, 90, 0.01, 0, 1, "float32", False, 0))
    assert again.step is None and not again.losses and again.num_steps == 90


def test_gauges_are_lines_of_name_and_number() -> None:
    lines = gauges(seen(*TRAINING), FRAME).splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines)
    assert values["isoflop_spent_seconds"] == "200.0" and values["isoflop_productive_share"] == "0.75"
    assert values['isoflop_gpu_watts{gpu="0"}'] == "512.0"
    assert all(name.startswith("isoflop_") and math.isfinite(float(value)) for name, value in values.items())
    assert "isoflop_step" not in gauges(Seen(), FRAME)


@pytest.mark.parametrize(("share", "filled"), [(-1.0, 0), (0.5, 10), (2.0, 20), (math.nan, 0)])
def test_bars_stay_in_their_bounds(share: float, filled: int) -> None:
    assert bar(share).count("━") == filled and len(bar(share)) == 20


def test_sparklines() -> None:
    assert sparkline([1.0]) == "" and sparkline([2.0, 2.0]) == "▁▁" and sparkline([0.0, 1.0, 0.5]) == "▁█▅"


def test_gpus_are_asked_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho 'NVIDIA H200, 97, 1024, 143771, 612.50, 61'\necho 'NVIDIA H200, 0, 0, 143771, [N/A], 30'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    first, second = read_machine(tmp_path).gpus
    assert (first.name, first.utilisation, first.memory_bytes, first.watts) == ("NVIDIA H200", 0.97, 2**30, 612.5)
    assert math.isnan(second.watts)
    program.write_text("#!/bin/sh\nexit 9\n")
    assert read_machine(tmp_path).gpus == []
