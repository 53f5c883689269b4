"""The default prior says what its constants say."""

import math

import numpy as np
import pytest

from isoflop.core.products import LawPoint
from isoflop.law import prior as trust
from isoflop.law.fit import fit
from isoflop.law.forms import PARAMETERS
from isoflop.law.prior import Prior


def test_published_levels_follow_the_lowest_loss() -> None:
    found = Prior.published(4.0)
    shares = trust.IRREDUCIBLE, trust.REDUCIBLE, trust.REDUCIBLE
    rest = trust.ALPHA, trust.BETA, trust.LOG_P, trust.LOG_R_D, trust.LOG_R_N
    assert [math.exp(mean) for mean in found.mean[:3]] == pytest.approx([4.0 * share for share, _ in shares])
    assert found.mean[3:] == tuple(mean for mean, _ in rest)
    assert found.sd == tuple(sd for _, sd in (*shares, *rest))


def test_the_prior_speaks_of_every_parameter_in_the_order_of_theta() -> None:
    found = Prior.published(4.0)
    assert PARAMETERS == ("E", "A", "B", "alpha", "beta", "p", "R_D*", "R_N*")
    assert len(found.mean) == len(found.sd) == len(Prior.flat(4.0).sd) == len(PARAMETERS)
    assert all(sd > 0 for sd in found.sd)


def test_flat_keeps_the_centre_and_drops_the_weight() -> None:
    assert Prior.flat(4.0).mean == Prior.published(4.0).mean
    assert set(Prior.flat(4.0).sd) == {trust.FLAT_SD}


def test_text_that_can_be_copied_has_less_to_learn() -> None:
    fresh, copied = (Prior.measured(6.5, overlap=share) for share in (0.0, 0.2))
    assert copied.mean[0] < fresh.mean[0]  # E
    assert copied.mean[3:] == fresh.mean[3:] and copied.sd == fresh.sd


def test_measured_levels_scale_with_the_entropy_of_the_tokens() -> None:
    low, high = (Prior.measured(nats, overlap=0.05) for nats in (5.0, 10.0))
    np.testing.assert_allclose(np.subtract(high.mean, low.mean), [math.log(2)] * 3 + [0.0] * 5, atol=1e-12)


def test_a_prior_with_a_centre_does_not_depend_on_where_the_points_lie() -> None:
    """With one point the exponents stay the prior's, whichever unit the solver would have chosen by itself."""
    prior = Prior.measured(6.5, overlap=0.02)
    assert prior.centre is not None
    one = LawPoint("a", 3e5, 1e6, 1e9, 1.8e12, 4.5, 0.01)
    law = fit([one], prior=prior, num_draws=2)
    assert float(law.loss(3e5, 1e6, 1e9)) == pytest.approx(4.5, rel=0.01)
    assert law.report().parameters["alpha"] == pytest.approx(prior.mean[3], abs=0.02)
