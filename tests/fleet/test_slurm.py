from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("submitit")

from test_local import refusing, square

from isoflop.core.errors import IsoflopError
from isoflop.fleet.slurm import Slurm


@pytest.mark.long
def test_pieces_run_as_jobs(tmp_path: Path) -> None:
    executor = Slurm(tmp_path, num_processes=2, cluster="local")
    assert sorted(executor.map(square, [1, 2, 3])) == [1, 4, 9]
    assert list(executor.map(square, [])) == []


@pytest.mark.long
def test_a_job_that_fails_is_told_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(IsoflopError, match=r"job \d+ failed .*bad. Mend it"):
        list(Slurm(tmp_path, cluster="local").map(refusing, [1]))
