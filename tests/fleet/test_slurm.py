from __future__ import annotations

from math import isqrt
from pathlib import Path

import pytest

from isoflop.core.errors import IsoflopError
from isoflop.core.executor import Executor
from isoflop.fleet.local import Local
from isoflop.fleet.slurm import Slurm
from isoflop.text.gather import Source
from isoflop.text.pipeline import TEXT, Recipe, refine_text
from isoflop.text.refine import Refinement
from isoflop.text.tokenizer import require_vocab_size
from toy import write_texts

pytestmark = pytest.mark.long


@pytest.fixture
def executor(tmp_path: Path) -> Slurm:
    pytest.importorskip("submitit")
    return Slurm(tmp_path / "jobs", num_processes=2, cluster="local")


def written_by(executor: Executor, texts: Path, out: Path) -> dict[str, bytes]:
    """The shards of a prepared text."""
    recipe = Recipe((Source("toy", (str(texts),)),), Refinement(rules=("gopher-quality",)))
    refine_text(recipe, out, executor=executor, watts=1.0)
    return {path.name: path.read_bytes() for path in (out / TEXT).glob("*.parquet")}


def test_pieces_run_as_jobs(executor: Slurm) -> None:
    assert sorted(executor.map(isqrt, [1, 4, 9])) == [1, 2, 3]
    assert list(executor.map(isqrt, [])) == []


def test_a_job_that_fails_is_told_with_its_log(executor: Slurm) -> None:
    with pytest.raises(IsoflopError, match=r"_log\.err: job \d+ failed .*a vocabulary of 7 is not possible"):
        list(executor.map(require_vocab_size, [7]))


def test_a_text_is_prepared_to_the_same_bytes(executor: Slurm, tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts")
    assert written_by(executor, texts, tmp_path / "slurm") == written_by(Local(1), texts, tmp_path / "local")
