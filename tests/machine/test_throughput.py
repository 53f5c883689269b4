from __future__ import annotations

import dataclasses
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.core import codec
from isoflop.core.products import Machine
from isoflop.machine.throughput import fit_throughput, gain_together, nonnegative_least_squares, shape_of

sys.path.append(str(Path(__file__).parents[1] / "plan"))
from invented import SHAPES, TRUE, machine, timing


def test_an_exact_machine_is_recovered() -> None:
    fitted = fit_throughput(machine())
    assert fitted.error < 0.005
    for shape, batch in itertools.product((SHAPES[1], SHAPES[4], SHAPES[6], SHAPES[9]), (1024, 2048, 8192)):
        predicted = fitted.step_seconds(shape, batch_tokens=batch)
        assert predicted == pytest.approx(TRUE.step_seconds(shape, batch_tokens=batch), rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_a_noisy_machine_is_recovered_roughly(seed: int) -> None:
    fitted = fit_throughput(machine(noise=0.05, seed=seed))
    assert 0 < fitted.error < 0.1
    for shape in (SHAPES[1], SHAPES[4], SHAPES[6]):
        predicted = fitted.step_seconds(shape, batch_tokens=2048)
        assert predicted == pytest.approx(TRUE.step_seconds(shape, batch_tokens=2048), rel=0.15)


def test_only_eager_single_process_timings_of_the_dtype_count() -> None:
    base = machine()
    strange = timing(SHAPES[0], 512, seconds=1000.0)
    others = [
        dataclasses.replace(strange, compiled=True),
        dataclasses.replace(strange, num_processes=2),
        dataclasses.replace(strange, dtype="bfloat16"),
    ]
    more = dataclasses.replace(base, timings=[*base.timings, *others])
    np.testing.assert_array_equal(fit_throughput(more).coefficients, fit_throughput(base).coefficients)


def test_larger_steps_take_longer() -> None:
    fitted = fit_throughput(machine(noise=0.1, seed=9))
    times = [fitted.step_seconds(shape, batch_tokens=2048) for shape in SHAPES[:10]]
    assert times == sorted(times)
    assert fitted.step_seconds(SHAPES[3], batch_tokens=4096) > fitted.step_seconds(SHAPES[3], batch_tokens=2048)


@pytest.mark.parametrize("index", range(12))
def test_the_timed_shape_is_known_again(index: int) -> None:
    assert shape_of(timing(SHAPES[index], 1024, seconds=1.0)) == SHAPES[index]


def brute_force(a: np.ndarray, b: np.ndarray) -> float:
    """Least residual over all supports whose unconstrained solution is non-negative."""
    best = float(b @ b)
    for size in range(1, a.shape[1] + 1):
        for support in itertools.combinations(range(a.shape[1]), size):
            x, *_ = np.linalg.lstsq(a[:, support], b, rcond=None)
            if (x >= 0).all():
                residual = a[:, support] @ x - b
                best = min(best, float(residual @ residual))
    return best


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_nonnegative_least_squares_is_optimal(seed: int, columns: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(8, columns)), generator.normal(size=8)
    x = nonnegative_least_squares(a, b)
    assert (x >= 0).all()
    residual = a @ x - b
    assert float(residual @ residual) == pytest.approx(brute_force(a, b), rel=1e-6, abs=1e-9)


def test_machine_round_trip() -> None:
    base = machine()
    assert codec.decode(Machine, codec.encode(base)) == base


def test_the_gain_of_processes_together_is_over_one_that_does_the_same() -> None:
    alone = machine()
    assert gain_together(alone) == 1.0
    shape, batch = SHAPES[7], 8192
    seconds = TRUE.step_seconds(shape, batch_tokens=batch) / 1.8
    together = dataclasses.replace(timing(shape, batch, seconds=seconds), num_processes=2)
    assert gain_together(dataclasses.replace(alone, timings=[*alone.timings, together])) == pytest.approx(1.8, rel=1e-3)
