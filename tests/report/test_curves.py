"""IsoFLOP curves by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.products import LawPoint
from isoflop.report.curves import NEAR, isoflop_curves


def trunk(size: float, first: float, *losses: float) -> list[LawPoint]:
    """Points of one size whose FLOPs double from one to the next."""
    return [LawPoint("p", size, 1.0, 1.0, first * 2**i, loss, 0.01) for i, loss in enumerate(losses)]


def test_losses_lie_halfway_in_log_flops() -> None:
    curves = isoflop_curves(trunk(10.0, 1.0, 5.0, 4.0, 3.5) + trunk(20.0, math.sqrt(2), 6.0, 5.0, 4.0))
    assert [curve.flops for curve in curves] == pytest.approx([math.sqrt(2), 4.0])
    assert [curve.sizes for curve in curves] == [[10.0, 20.0]] * 2
    assert curves[0].losses == pytest.approx([4.5, 6.0])
    assert curves[1].losses == pytest.approx([3.5, 4.5])


def test_a_curve_for_every_factor_of_two_and_only_sizes_that_reached_it() -> None:
    points = trunk(1.0, 1.0, 5.0, 4.0, 3.0) + trunk(2.0, 2.0, 5.5, 4.5, 3.5) + trunk(3.0, 4.0, 5.2, 4.2, 3.2)
    found = [(round(curve.flops, 6), curve.sizes, curve.losses) for curve in isoflop_curves(points)]
    assert found == [
        (2.0, [1.0, 2.0], pytest.approx([4.0, 5.5])),
        (4.0, [1.0, 2.0, 3.0], pytest.approx([3.0, 4.5, 5.2])),
        (8.0, [2.0, 3.0], pytest.approx([3.5, 4.2])),
    ]


def test_two_sizes_that_only_just_meet() -> None:
    [curve] = isoflop_curves(trunk(1.0, 0.5, 5.0, 4.0) + trunk(2.0, 1.04, 4.5))
    assert curve.losses == [4.0, 4.5]
    assert isoflop_curves(trunk(1.0, 0.5, 5.0, 4.0) + trunk(2.0, 1.3, 4.5)) == []


def test_one_size_and_none_have_no_curve() -> None:
    assert isoflop_curves(trunk(1.0, 1.0, 5.0, 4.0)) == []
    assert isoflop_curves([]) == []


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(1e9, 1e15), st.floats(1, 8)), max_size=12))
def test_no_curve_leaves_what_was_measured(runs: list[tuple[int, float, float]]) -> None:
    points = [LawPoint("p", size, 1.0, 1.0, flops, loss, 0.01) for size, flops, loss in runs]
    for curve in isoflop_curves(points):
        assert len(curve.sizes) > 1
        for size, loss in zip(curve.sizes, curve.losses, strict=True):
            own = [p for p in points if p.num_parameters == size]
            assert min(p.loss for p in own) <= loss <= max(p.loss for p in own)
            assert min(p.flops for p in own) / NEAR <= curve.flops * (1 + 1e-9)
            assert curve.flops * (1 - 1e-9) <= max(p.flops for p in own) * NEAR
