"""What a budget is expected to train, where scoring the text is a large part of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from isoflop.core.errors import BudgetError
from isoflop.machine.throughput import gain_together
from isoflop.plan.guess import LEAST_SEQUENCES, tokens_in
from isoflop.stages import pilots
from isoflop.stages.division import PILOT_SHARE, closing_of, least_training, require_time
from isoflop.stages.pilots import expected_target

sys.path.append(str(Path(__file__).parents[1] / "plan"))
from invented import CONTEXT, TRUE, setting

SPENT = 20.0


def study(tmp_path: Path, *, budget: float, test_tokens: int) -> Any:
    test = SimpleNamespace(num_tokens=test_tokens, num_bytes=3 * test_tokens)
    return SimpleNamespace(
        budget_seconds=budget, manifest=SimpleNamespace(test=test), decided=lambda key: None, records=tmp_path
    )


@pytest.fixture(autouse=True)
def spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilots, "_spent_before", lambda _: SPENT)


@pytest.mark.parametrize(("budget", "test_tokens"), [(120.0, 200_000), (600.0, 200_000), (600.0, 2_000_000)])
def test_scoring_is_reckoned_for_the_shape_that_is_expected(tmp_path: Path, budget: float, test_tokens: int) -> None:
    made, own = setting(), study(tmp_path, budget=budget, test_tokens=test_tokens)
    target = expected_target(own, made)
    left = budget * (1 - PILOT_SHARE) - SPENT - closing_of(own, made.throughput, target.config)
    speedup = gain_together(made.machine)
    assert target.tokens == tokens_in(TRUE, target.config, context=CONTEXT, seconds=left, speedup=speedup)
    assert target.tokens > 1e5


def test_a_budget_that_reading_and_scoring_take_up_is_refused_with_one_that_works() -> None:
    with pytest.raises(BudgetError, match=r"scoring this text will take 25 s: 6 s would be left .* wants 9 s") as told:
        require_time(budget=60.0, spent=20.0, closing=25.0, least=9.0)
    minutes = float(str(told.value).rsplit("about ", 1)[1].split()[0])
    require_time(budget=60 * minutes, spent=20.0, closing=25.0, least=9.0)
    with pytest.raises(BudgetError, match="reading and measuring took 40 s, 67% of the budget"):
        require_time(budget=60.0, spent=40.0, closing=1.0, least=1.0)


def test_the_least_training_is_what_a_plan_still_considers() -> None:
    made = setting()
    least = least_training(TRUE, made.shapes[0], context=CONTEXT)
    tokens = tokens_in(TRUE, made.shapes[0], context=CONTEXT, seconds=least)
    assert tokens == pytest.approx(LEAST_SEQUENCES * CONTEXT, rel=1e-6)
