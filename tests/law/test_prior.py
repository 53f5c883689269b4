"""The default prior says what its constants say."""

import math

import pytest

from isoflop.law import prior as trust
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
