from __future__ import annotations

import dataclasses

import pytest

from isoflop.core.errors import BudgetError
from isoflop.estimate.devices import find_device
from isoflop.estimate.memory import memory_of
from isoflop.estimate.parallel import Training, divides
from isoflop.estimate.search import best_layout, divisions
from isoflop.estimate.shapes import shape_of_size
from isoflop.model.count import count_parameters

H100 = find_device("h100")


def training(size: float, *, batch: int = 1024, context: int = 4096) -> Training:
    return Training(shape_of_size(size, context=context), batch, context)


@pytest.mark.parametrize("size", [1e7, 1.25e8, 1.3e9, 7e9, 7e10, 4.05e11])
def test_a_model_of_a_size_has_it(size: float) -> None:
    shape = shape_of_size(size, context=4096)
    assert count_parameters(shape).all == pytest.approx(size, rel=0.06)
    assert 10 < shape.hidden_size / shape.num_hidden_layers < 170


def test_divisions_divide_and_use_all_devices() -> None:
    asked = training(7e9)
    found = list(divisions(asked, H100, 64))
    assert len(found) > 20
    assert all(each.num_devices == 64 and divides(asked, each) for each in found)


def test_a_small_model_is_replicated_and_a_large_one_divided() -> None:
    small, large = best_layout(training(1.3e9), H100, 8), best_layout(training(7e10), H100, 256)
    assert small.division.tensor == small.division.pipeline == 1
    assert large.division.sharding == "full" or large.division.tensor * large.division.pipeline > 1
    for layout in (small, large):
        assert layout.memory.total <= H100.memory_bytes


def test_no_division_that_fits_is_faster() -> None:
    from isoflop.estimate.speed import step_time

    asked = training(1.3e10, batch=512)
    best = best_layout(asked, H100, 32)
    for division in divisions(asked, H100, 32):
        if memory_of(asked, division).total <= H100.memory_bytes:
            assert step_time(asked, division, H100).total >= best.seconds


def test_what_does_not_fit_says_by_how_much() -> None:
    with pytest.raises(
        BudgetError, match=r"8 x H100: does not fit: .* GB .*, H100 has 80 \(.* too few\)\. \d+ of them hold it"
    ):
        best_layout(training(4e11), H100, 8)


def test_more_memory_never_makes_it_slower() -> None:
    asked = training(1.3e10, batch=512)
    roomy = dataclasses.replace(H100, memory_bytes=4 * H100.memory_bytes)
    assert best_layout(asked, roomy, 32).seconds <= best_layout(asked, H100, 32).seconds


def test_long_sequences_are_divided() -> None:
    layout = best_layout(training(7e9, batch=64, context=131_072), H100, 64)
    assert layout.division.context >= 8
