from __future__ import annotations

import sys
from pathlib import Path

import pytest

from isoflop.core.errors import BudgetError
from isoflop.core.products import FORMAT_VERSION, Machine
from isoflop.model.count import flops_per_token
from isoflop.stages import machine as stage
from isoflop.stages.division import MIN_BUDGET_SECONDS, require_budget
from isoflop.stages.machine import (
    best_flops_per_second,
    expected_flops,
    measure_machine,
    rates_of,
)
from isoflop.study import Given, Study
from isoflop.text.prepare import prepare
from toy import session, write_texts

sys.path.append(str(Path(__file__).parents[1] / "plan"))
from invented import machine

from isoflop.machine.throughput import shape_of

MACHINE = machine()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machine")
    prepare([write_texts(folder / "texts", num_files=40, sentences=30)], folder / "study" / "corpus")
    return folder / "study"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds asked for, each time; nothing is measured."""
    asked: list[float] = []

    def measure(shapes: object, *, seconds: float, side_by_side: object) -> Machine:
        asked.append(seconds)
        return MACHINE

    monkeypatch.setattr(stage, "measure", measure)
    return asked


def study_with(corpus: Path, budget: str, *, price: float | None = None) -> Study:
    study = Study(corpus)
    (corpus / "machine.json").unlink(missing_ok=True)
    study.give(Given(FORMAT_VERSION, "isoflop run", [], budget, 0, "FRA", 56.0, price_per_hour=price))
    return study


@pytest.mark.parametrize("seconds", [0.5, 0.99 * MIN_BUDGET_SECONDS])
def test_a_budget_that_buys_nothing_is_refused_with_the_smallest_that_works(seconds: float) -> None:
    with pytest.raises(BudgetError, match="smallest that works is"):
        require_budget(seconds)
    require_budget(MIN_BUDGET_SECONDS)


@pytest.mark.parametrize(("budget", "expected"), [("100s", 0.85 * 0.4e12 * 100), ("1e15flop", 0.85e15)])
def test_what_a_budget_will_train_with_by_a_product_of_matrices(
    monkeypatch: pytest.MonkeyPatch, budget: str, expected: float
) -> None:
    monkeypatch.setattr(stage, "matmul_peak", lambda dtype, *_, **__: {"float32": 1e11, "bfloat16": 1e12}[dtype])
    assert expected_flops(budget) == pytest.approx(expected)


def test_a_price_turns_dollars_to_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "matmul_peak", lambda *_, **__: 1e12)
    assert expected_flops("$1", price_per_hour=36.0) == pytest.approx(0.85 * 0.4e12 * 100)
    with pytest.raises(BudgetError, match="price-per-hour"):
        expected_flops("$1")


def test_the_best_speed_is_that_of_one_of_the_timings() -> None:
    speeds = [t.batch_tokens * flops_per_token(shape_of(t), context=t.context) / t.seconds for t in MACHINE.timings]
    assert best_flops_per_second(MACHINE) == max(speeds)


def test_rates_carry_what_was_given(corpus: Path) -> None:
    rates = rates_of(MACHINE, study_with(corpus, "10min", price=0.4).given)
    assert (rates.dollars_per_hour, rates.grams_co2e_per_kwh) == (0.4, 56.0)
    assert rates.watts == pytest.approx(10.0, rel=0.3)  # two cores at five watts


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("10min", 600.0),
        ("$1", 9000.0),
        ("1e14flop", 1e14 / best_flops_per_second(MACHINE)),
    ],
)
def test_every_budget_becomes_seconds(corpus: Path, measured: list[float], budget: str, expected: float) -> None:
    study = study_with(corpus, budget, price=0.4)
    measure_machine(study, session(lambda record: None, seconds_left=0.9 * expected), None)
    assert study.budget_seconds == pytest.approx(expected)
    assert study.machine == MACHINE
    assert study.given.budget_conversion
    assert (study.decided("dtype"), study.decided("num_threads")) == (MACHINE.dtype, MACHINE.num_cores)
    assert len(measured) == 1 and 0 < measured[0] < 0.2 * expected


@pytest.mark.parametrize(("budget", "left"), [("1flop", 100.0), ("10min", 100.0)])
def test_a_refused_budget_leaves_no_machine_behind(
    corpus: Path, measured: list[float], budget: str, left: float
) -> None:
    study = study_with(corpus, budget)
    with pytest.raises(BudgetError, match="smallest"):
        measure_machine(study, session(lambda record: None, seconds_left=left), None)
    assert not study.has("machine.json")
