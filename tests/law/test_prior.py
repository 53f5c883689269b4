"""The default prior says what its constants say."""

import math

import numpy as np
import pytest

from isoflop.core.products import LawPoint
from isoflop.law import prior as trust
from isoflop.law.forms import form_of
from isoflop.law.pilots import _maximum, fit_pilots
from isoflop.law.prior import Prior, Ratio


def test_published_levels_follow_the_lowest_loss() -> None:
    found = Prior.published(4.0)
    shares = trust.IRREDUCIBLE, trust.REDUCIBLE, trust.REDUCIBLE
    rest = trust.ALPHA, trust.BETA, trust.LOG_P, trust.LOG_R_D, trust.LOG_R_N
    assert [math.exp(mean) for mean in found.mean[:3]] == pytest.approx([4.0 * share for share, _ in shares])
    assert found.mean[3:] == tuple(mean for mean, _ in rest)
    assert found.sd == tuple(sd for _, sd in (*shares, *rest))


def test_the_prior_speaks_of_every_parameter_in_the_order_of_theta() -> None:
    found = Prior.published(4.0)
    eight = form_of("coupled")
    assert eight.parameters == ("E", "A", "B", "alpha", "beta", "p", "R_D*", "R_N*")
    assert len(found.mean) == len(found.sd) == len(Prior.flat(4.0).sd) == len(eight.parameters)
    assert [list(values) for values in found.of(eight)] == [list(found.mean), list(found.sd)]
    assert list(found.of(form_of("repeated_chinchilla"))[0]) == [*found.mean[:5], *found.mean[6:]]
    assert all(sd > 0 for sd in found.sd)


def test_flat_keeps_the_centre_and_drops_the_weight() -> None:
    assert Prior.flat(4.0).mean == Prior.published(4.0).mean
    assert set(Prior.flat(4.0).sd) == {trust.FLAT_SD}


def test_measured_levels_scale_with_the_entropy_of_the_tokens() -> None:
    low, high = (Prior.measured(nats) for nats in (5.0, 10.0))
    np.testing.assert_allclose(np.subtract(high.mean, low.mean), [math.log(2)] * 3 + [0.0] * 5, atol=1e-12)


def test_the_drop_follows_the_trigrams() -> None:
    drop = Ratio.of_trigrams((1e6, math.e * 1e6), (5.0, 4.5))
    assert drop.log_ratio == pytest.approx(trust.TRIGRAM_RATIO * math.log(0.9))
    assert drop.sd == pytest.approx(trust.TRIGRAM_SD * -drop.log_ratio)
    assert Ratio.of_trigrams((1e6, math.e * 1e6), (7.5, 6.75)).log_ratio == pytest.approx(drop.log_ratio)  # any unit
    copied = Ratio.of_trigrams((1e6, math.e * 1e6), (5.0, 4.5), overlap=0.3)
    assert copied.log_ratio == pytest.approx((1 - 0.3 * trust.COPIED) * drop.log_ratio)
    assert copied.sd > 2.5 * trust.TRIGRAM_SD * -copied.log_ratio


def test_a_known_drop_decides_what_far_tokens_bring_and_nothing_near() -> None:
    points = [LawPoint(str(d), 1e6, d, 1e9, 6e6 * d, 5.0 * (d / 2e5) ** -0.07, 0.01) for d in (2e5, 3e5)]
    small, large = (
        fit_pilots(points, prior=Prior.measured(6.5, drop=Ratio(((1e6, 2.5e5), (1e6, 4e6)), ratio, 0.005)), num_draws=2)
        for ratio in (-0.20, -0.26)
    )
    for law, ratio in ((small, -0.20), (large, -0.26)):
        fall = float(np.log(law.loss(1e6, 4e6, 1e9) / law.loss(1e6, 2.5e5, 1e9)))
        assert fall == pytest.approx(ratio, abs=0.01)
        assert float(law.loss(1e6, 2e5, 1e9)) == pytest.approx(5.0, rel=0.02)
        assert len(law.report().points) == 2


def test_a_prior_with_a_centre_does_not_depend_on_where_the_points_lie() -> None:
    """With one point the exponents stay the prior's, whichever unit the solver would have chosen by itself."""
    prior = Prior.measured(6.5)
    assert prior.centre is not None
    one = LawPoint("a", 3e5, 1e6, 1e9, 1.8e12, 4.5, 0.01)
    law = fit_pilots([one], prior=prior, num_draws=2)
    assert float(law.loss(3e5, 1e6, 1e9)) == pytest.approx(4.5, rel=0.01)
    assert law.report().parameters["alpha"] == pytest.approx(prior.mean[3], abs=0.02)


def test_measured_texts_agree_on_which_runs_are_worth_the_same() -> None:
    """Whatever one pilot says of the levels; a loose prior does not know."""
    (small, long), (large, short) = trust.EQUALS
    for loss in (4.0, 5.5):
        one = LawPoint("a", 3e5, 1e6, 1e9, 1.8e12, loss, 0.01)
        law = fit_pilots([one], prior=Prior.measured(6.5), num_draws=200)
        gap = np.log(law.draw_losses(large, short, 1e9) / law.draw_losses(small, long, 1e9))
        assert abs(float(np.log(law.loss(large, short, 1e9) / law.loss(small, long, 1e9)))) < 0.003
        assert gap.std() < 1.5 * trust.EQUALS_SD
    loose = fit_pilots([one], prior=Prior.any_text(5.5), num_draws=200)
    assert np.log(loose.draw_losses(large, short, 1e9) / loose.draw_losses(small, long, 1e9)).std() > 0.05


def test_what_ratios_decide_is_not_credited_to_the_pilots() -> None:
    one = LawPoint("a", 3e5, 1e6, 1e9, 1.8e12, 4.5, 0.01)
    prior = Prior.measured(6.5)
    before = _maximum([one], prior, "coupled").prior_sd()
    assert before[[0, 6, 7]] == pytest.approx(np.array(prior.sd)[[0, 6, 7]], rel=0.01)  # E, R_D*, R_N*: no say
    assert (before[1:3] < 0.85 * np.array(prior.sd)[1:3]).all()  # A and B: either follows from the other
