from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster import MISSING, slurm_here


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables by which a Slurm of this machine is found."""
    if MISSING:
        pytest.skip(f"no {MISSING} here: apt-get install slurm-wlm")
    with slurm_here(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables
