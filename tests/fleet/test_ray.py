from __future__ import annotations

import os

import pytest
from test_local import refusing, square

from isoflop.core.errors import TextError
from isoflop.fleet.ray import Ray


@pytest.mark.long
def test_pieces_run_on_a_ray_of_this_machine() -> None:
    ray = pytest.importorskip("ray")
    executor = Ray(num_processes=2)
    try:
        assert sorted(executor.map(square, range(6))) == [x * x for x in range(6)]
        assert list(executor.map(square, [])) == []
        with pytest.raises(TextError, match=r"item 1: bad. Mend it"):
            list(executor.map(refusing, [1]))
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    finally:
        ray.shutdown()
