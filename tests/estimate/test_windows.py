from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.errors import BudgetError, IsoflopError
from isoflop.estimate.windows import Slot, read_intensity, schedule

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = [300, 200, 100, 100, 250, 400, 90, 300]


def hourly(grams: list[float]) -> list[Slot]:
    return [Slot(START + timedelta(hours=i), START + timedelta(hours=i + 1), value) for i, value in enumerate(grams)]


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def test_the_cleanest_hours_by_hand() -> None:
    found = schedule(hourly(DAY), hours=3.5, start=START, deadline=after(8))
    assert [(window.start, window.end) for window in found.windows] == [
        (after(1), after(1.5)),
        (after(2), after(4)),
        (after(6), after(7)),
    ]
    assert found.grams_per_kwh == pytest.approx((0.5 * 200 + 100 + 100 + 90) / 3.5)
    assert found.at_once == pytest.approx((300 + 200 + 100 + 50) / 3.5)
    assert found.saved == pytest.approx(1 - found.grams_per_kwh / found.at_once)


def test_hours_that_touch_are_one_window_and_starts_in_the_middle_count_from_there() -> None:
    found = schedule(hourly(DAY), hours=1.5, start=after(2.25), deadline=after(5))
    (window,) = found.windows
    assert (window.start, window.end) == (after(2.25), after(3.75)) and found.saved == 0.0


@given(st.lists(st.floats(1, 900), min_size=2, max_size=40), st.data())
def test_no_other_hours_are_cleaner(grams: list[float], data: st.DataObject) -> None:
    hours = data.draw(st.integers(1, len(grams)))
    found = schedule(hourly(grams), hours=hours, start=START, deadline=after(len(grams)))
    assert found.grams_per_kwh == pytest.approx(sum(sorted(grams)[:hours]) / hours)
    assert found.grams_per_kwh <= found.at_once + 1e-9
    assert sum(window.hours for window in found.windows) == pytest.approx(hours)


def test_a_deadline_that_leaves_too_little_is_refused() -> None:
    with pytest.raises(BudgetError, match=r"--intensity: 4.0 hours are known .* 5.0 needed"):
        schedule(hourly(DAY), hours=5, start=START, deadline=after(4))


def test_a_file_with_names_and_without_a_zone(tmp_path: Path) -> None:
    path = tmp_path / "hourly.csv"
    path.write_text(
        "# a grid\ntime,gCO2e_per_kWh,zone\n2026-11-22T12:00,300,DE\n2026-11-22T13:00Z,200\n2026-11-22T15:30+01:00,50\n"
    )
    slots = read_intensity(path)
    assert [slot.start for slot in slots] == [after(0), after(1), after(2.5)]
    assert [slot.hours for slot in slots] == [1.0, 1.5, 1.5]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("time,g\n2026-11-22T12:00,300\nnoon,200\n", "hourly.csv:3, column 1: 'noon' is no time"),
        ("2026-11-22T12:00,300\n2026-11-22T13:00,much\n", "hourly.csv:2, column 2: 'much' is no intensity"),
        ("2026-11-22T12:00,300\n2026-11-22T13:00,-1\n", "hourly.csv:2, column 2: '-1' is no intensity"),
        ("2026-11-22T12:00,300\n", "fewer than two times"),
        ("2026-11-22T13:00,300\n2026-11-22T12:00,300\n", "times do not ascend"),
        ("", "fewer than two times"),
        ("time,grams,zone\n2026-11-22T12:00\n", "hourly.csv:2, column 2: '' is no intensity"),
    ],
)
def test_what_cannot_be_read_is_told_by_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "hourly.csv"
    path.write_text(text)
    with pytest.raises(BudgetError, match=told):
        read_intensity(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsoflopError, match=r"none\.csv: cannot be read"):
        read_intensity(tmp_path / "none.csv")
