"""The default prior says what its constants say."""

import math

import pytest

from isoflop.law import prior as trust
from isoflop.law.prior import Prior


def test_published_levels_follow_the_lowest_loss() -> None:
    found = Prior.published(4.0)
    assert [math.exp(found.mean[i]) for i in (0, 1, 2)] == pytest.approx([2.0, 1.0, 1.0])
    assert found.mean[3:5] == (trust.ALPHA[0], trust.BETA[0])
    assert [math.exp(found.mean[i]) for i in (5, 6)] == pytest.approx([15.4, 5.3])
    assert found.sd == (0.35, 1.0, 1.0, 0.05, 0.05, 0.7, 0.8)


def test_flat_keeps_the_centre_and_drops_the_weight() -> None:
    assert Prior.flat(4.0).mean == Prior.published(4.0).mean
    assert set(Prior.flat(4.0).sd) == {trust.FLAT_SD}
