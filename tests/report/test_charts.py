from __future__ import annotations

from typing import Any

import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st
from synthetic import all_records, law, manifest, monitor_records, plan, target_records

from isoflop.core.records import Evaluation, Monitor, Scored, Step
from isoflop.report import charts, view


def compiles(spec: dict[str, Any]) -> dict[str, Any]:
    """Vega's own compiler is the judge of a spec."""
    compiled: dict[str, Any] = vl_convert.vegalite_to_vega(spec)
    return compiled


def of(kind: type) -> list[Any]:
    return [record for record in all_records() if isinstance(record, kind)]


def test_every_chart_compiles_to_vega() -> None:
    promised, factor = plan(), manifest().val.bits_per_nat
    steps, evaluations = of(Step), of(Evaluation)
    samples: list[Any] = monitor_records()
    rows = [view.LedgerRow("corpus", "read", 4.0), view.LedgerRow("train", "productive", 500.0)]
    specs = [
        charts.ledger(rows, 600.0),
        charts.ledger(rows, None),
        charts.what_if(view.purchases(promised, 600.0), 1.7),
        charts.isoflop(law().points, factor, promised, 1.7),
        charts.isoflop(law().points, factor, None, None),
        charts.candidates(promised),
        charts.loss(steps, evaluations, factor, promised.forecast.loss.scaled(factor)),
        charts.series([1.0, 2.0], [3.0, 4.0], x_title="x", y_title="y"),
        charts.power(samples),
        charts.yardsticks(of(Scored)[0]),
    ]
    for spec in specs:
        assert spec["width"] == "container"
        assert compiles(spec)["marks"]


def test_long_runs_are_thinned() -> None:
    steps = [record for record in target_records() if isinstance(record, Step)] * 50
    spec = charts.loss(steps, [], 0.4, None)
    assert len(str(spec)) < 60_000


def test_minutes_leave_pauses_out() -> None:
    samples = [Monitor("train", 1.0, 1.0, 1, seconds, 0.0, 0.0, 0.0) for seconds in (30.0, 90.0)]
    assert charts.minutes_of(samples) == pytest.approx([0.5, 2.0])


def test_bin_means() -> None:
    assert charts.bin_means([1.0, 3.0, 5.0, 7.0], 2) == [2.0, 6.0]
    assert charts.bin_means([1.0, 2.0], 5) == [1.0, 2.0]
    assert charts.bin_means([], 5) == []


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 20))
def test_bin_means_stay_within_the_values(values: list[float], num_bins: int) -> None:
    means = charts.bin_means(values, num_bins)
    assert len(means) == min(num_bins, len(values))
    assert all(min(values) - 1e-6 <= mean <= max(values) + 1e-6 for mean in means)
