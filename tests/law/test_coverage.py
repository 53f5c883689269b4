"""Whether 95 % intervals hold the truth in 95 of 100 studies: simulated, fitted and resampled as a person would."""

import numpy as np
import pytest
from law_studies import COUPLED, EIGHT, TRUTH, loss

from isoflop.law.forms import PARAMS, TOKENS, Array, form_of
from isoflop.law.objective import Huber
from isoflop.law.resample import Way, resampled
from isoflop.law.search import best_fit
from isoflop.law.table import LOSS, Table

NUM_STUDIES, NUM_DRAWS = 300, 200
TARGET = {PARAMS: np.array([1e8]), TOKENS: np.array([2e9])}
"""Some 15 to 100 times the costliest run."""


def design(name: str) -> tuple[Array, Array]:
    """N and D of a study's runs."""
    if name == "grid":
        size, tokens = (each.ravel() for each in np.meshgrid(np.geomspace(3e4, 3e7, 9), np.geomspace(1e6, 1e9, 7)))
        return size, tokens
    if name == "isoflop":
        costs = np.repeat(np.geomspace(1e13, 1e16, 7), 8)
        size = np.sqrt(costs / 120) * np.tile(np.geomspace(1 / 6, 6, 8), 7)
        return size, costs / 6 / size
    size = np.repeat(np.geomspace(3e4, 3e7, 12), 4)
    return size, size * np.tile([5.0, 20.0, 60.0, 150.0], 12)


@pytest.mark.long
@pytest.mark.parametrize(
    ("cost", "way", "most"),
    [(Huber(np.inf), "points", 0.97), (Huber(np.inf), "noise", 0.97), (Huber(), "points", 1.0)],
    ids=["squares-points", "squares-noise", "hoffmann-points"],
)
@pytest.mark.parametrize(("name", "form", "theta"), [
    ("grid", "chinchilla", TRUTH), ("isoflop", "chinchilla", TRUTH), ("ratios", "skaling", COUPLED),
])  # fmt: skip
def test_intervals_cover(name: str, form: str, theta: Array, cost: Huber, way: Way, most: float) -> None:
    """Of an exponent and of the loss at a target, pooled: 88 to 97 % by least squares.

    Hoffmann's delta of .001 is a tenth of the noise here: nearly least absolute values, whose bootstrap spreads some
    15 % too widely (docs/log.md, 17). Its intervals are only asked not to be too narrow.
    """
    fitted_form, rng, noise = form_of(form), np.random.default_rng(0), 0.01
    size, tokens = design(name)
    clean = loss(theta, size, tokens, np.full(len(size), np.inf), form=form)
    truth = loss(theta, TARGET[PARAMS], TARGET[TOKENS], np.array([np.inf]), form=form)[0]
    place = fitted_form.index("beta")
    held = np.zeros(2)
    for study in range(NUM_STUDIES):
        measured = clean * np.exp(noise * rng.standard_normal(len(size)))
        table = Table.of({PARAMS: size, TOKENS: tokens, LOSS: measured})
        found = best_fit(table, fitted_form, cost=cost)
        draws = resampled(table, found, way=way, noise=noise, num_draws=NUM_DRAWS, seed=study)
        forecasts = found.log_loss(TARGET, draws)[:, 0]
        for i, (values, true) in enumerate(
            ((found.natural_of(draws)[:, place], EIGHT.natural(theta)[EIGHT.index("beta")]), (forecasts, np.log(truth)))
        ):
            low, high = np.quantile(values, [0.025, 0.975])
            held[i] += low <= true <= high
    print(name, way, held / NUM_STUDIES)
    assert 0.88 <= held.mean() / NUM_STUDIES <= most
