from __future__ import annotations

import os
from collections.abc import Iterator
from math import isqrt
from pathlib import Path

import pytest
from test_slurm import written_by

from isoflop.core.errors import TextError
from isoflop.fleet.local import Local
from isoflop.fleet.ray import Ray
from isoflop.text.tokenizer import require_vocab_size
from toy import write_texts

pytestmark = pytest.mark.long


@pytest.fixture
def executor() -> Iterator[Ray]:
    ray = pytest.importorskip("ray")
    yield Ray(num_processes=2)
    ray.shutdown()


def test_pieces_run_on_a_ray_of_this_machine(executor: Ray) -> None:
    assert sorted(executor.map(isqrt, [0, 1, 4, 9, 16])) == [0, 1, 2, 3, 4]
    assert list(executor.map(isqrt, [])) == []
    with pytest.raises(TextError, match="a vocabulary of 7 is not possible"):
        list(executor.map(require_vocab_size, [7]))
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_text_is_prepared_to_the_same_bytes(executor: Ray, tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts")
    assert written_by(executor, texts, tmp_path / "ray") == written_by(Local(1), texts, tmp_path / "local")
