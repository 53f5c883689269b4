"""A law at work: intervals, draws, warnings, and its way through JSON."""

import json

import numpy as np
import pytest
from law_studies import COUPLED, about, study

from isoflop.core.codec import decode, encode
from isoflop.core.products import LawReport
from isoflop.law.forms import form_of
from isoflop.law.pilots import fit_pilots
from isoflop.law.predict import Law


@pytest.fixture(scope="module", params=["coupled", "repeated_chinchilla"])
def law(request: pytest.FixtureRequest) -> Law:
    points = study(COUPLED, noise=0.02) if request.param == "coupled" else study(noise=0.02)
    return fit_pilots(points, form=request.param, prior=about(points), num_draws=50)


def test_a_law_survives_json_exactly(law: Law) -> None:
    copy = Law.from_report(decode(LawReport, json.loads(json.dumps(encode(law.report())))))
    assert copy.report() == law.report()
    assert (
        tuple(copy.report().parameters) == tuple(copy.report().standard_errors) == form_of(law.report().form).parameters
    )
    assert np.shape(copy.report().draws) == (50, len(copy.report().parameters))
    where = np.geomspace(1e5, 1e8, 7), 1e8, 1e6
    for name in ("central", "low", "high"):
        assert np.array_equal(getattr(copy.predict(*where), name), getattr(law.predict(*where), name))


def test_shapes_broadcast(law: Law) -> None:
    size, tokens = np.geomspace(1e5, 1e7, 3)[:, None], np.geomspace(1e6, 1e9, 4)
    band = law.predict(size, tokens, 1e7)
    assert band.central.shape == band.low.shape == band.high.shape == (3, 4)
    assert law.draw_losses(size, tokens, 1e7).shape == (50, 3, 4)
    one = law.predict(float(size[1, 0]), float(tokens[2]), 1e7)
    assert one.interval() == band.interval(1, 2)


def test_the_interval_holds_the_central_value_and_widens_outward(law: Law) -> None:
    tokens = np.geomspace(1e7, 1e13, 12)
    band = law.predict(1e6, tokens, 1e13)
    assert np.all((band.low < band.central) & (band.central < band.high))
    assert np.all(np.diff((band.high - band.low) / band.central) > 0)
    assert band.central == pytest.approx(law.loss(1e6, tokens, 1e13))


def test_discrepancy_by_hand(law: Law) -> None:
    """In squares of log loss each side, 1.645 x 1 % for each of 2 e-folds beyond the costliest point is added."""
    costliest = max(point.num_parameters * point.tokens for point in law.report().points)
    where = 1e6, costliest * np.e**2 / 1e6, 1e12
    without, with_it = (law.predict(*where, discrepancy_per_efold=value) for value in (0.0, 0.01))
    added = np.log(with_it.high / with_it.central) ** 2 - np.log(without.high / without.central) ** 2
    assert added == pytest.approx((1.6448536 * 0.02) ** 2, rel=1e-6)


def test_scatter_is_at_least_the_noise(law: Law) -> None:
    noise = float(np.median([point.noise / point.loss for point in law.report().points]))
    assert law.run_sd >= noise


def test_far_extrapolation_and_unmeasured_repetition_warn(law: Law) -> None:
    size = 1e6
    tokens = max(point.num_parameters * point.tokens for point in law.report().points) / size
    assert law.warnings_for(size, 29 * tokens) == []
    assert [w.code for w in law.warnings_for(size, 31 * tokens)] == ["extrapolation_far"]
    assert [w.code for w in law.warnings_for(size, tokens, tokens / 2)] == ["repetition_unmeasured"]
    message = law.warnings_for(size, tokens, tokens / 2)[0].message
    assert "repeats its data 2.0 times" in message and message.endswith("the prior decides")


def test_pilots_that_repeat_silence_the_warning() -> None:
    law = fit_pilots(study(noise=0.02, unique=1e6), num_draws=5)
    assert law.warnings_for(1e6, 1e7, 1e6) == []
