"""What every executor promises: the same suite for processes of this machine, a Ray and a Slurm of this machine, and
submitit's own processes, which do without Slurm."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from math import isqrt
from pathlib import Path

import psutil
import pytest
from pieces import die, die_once, talk, until

from isoflop.core.errors import LostError, TextError
from isoflop.core.executor import Executor
from isoflop.core.records import PilotFinished
from isoflop.fleet.local import Local
from isoflop.fleet.ray import Ray
from isoflop.fleet.slurm import Slurm
from isoflop.plan.sweep import Sweep, jobs_of
from isoflop.sweep_verbs import points_of, run_alone
from isoflop.text.gather import Source
from isoflop.text.pipeline import TEXT, Recipe, refine_text
from isoflop.text.prepare import load
from isoflop.text.refine import Refinement
from isoflop.text.tokenizer import require_vocab_size
from isoflop.train.pilot import PilotJob
from toy import rarely, write_texts

HERE = Path(__file__).parent


@pytest.fixture(params=["local", rarely("ray"), rarely("submitit"), rarely("slurm")])
def executor(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    before = os.environ.get("PYTHONPATH", "")  # and more, so that processes find this file
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent), before]))
    if request.param == "ray":
        ray = pytest.importorskip("ray")
        yield Ray(num_processes=2, folder=tmp_path / "jobs")
        ray.shutdown()
    elif request.param == "submitit":
        pytest.importorskip("submitit")
        yield Slurm(tmp_path / "jobs", num_processes=2, cluster="local")
    elif request.param == "slurm":
        pytest.importorskip("submitit")
        for name, value in request.getfixturevalue("slurm").items():
            monkeypatch.setenv(name, value)
        yield Slurm(tmp_path / "jobs", num_processes=2)
    else:
        yield Local(2, tmp_path / "jobs")


def test_every_item_is_done(executor: Executor) -> None:
    assert sorted(executor.map(isqrt, [0, 1, 4, 9, 16])) == [0, 1, 2, 3, 4]
    assert list(executor.map(isqrt, [])) == []


def test_a_persons_mistake_arrives_as_one(executor: Executor) -> None:
    with pytest.raises(TextError, match=r"a vocabulary of [78] is not possible"):
        list(executor.map(require_vocab_size, [7, 8]))
    states = [job.state for job in executor.ended(require_vocab_size, [7, 4096])]
    assert sorted(states) == ["done", "failed"]


def test_a_job_is_watched_and_cancelled_and_others_are_not(executor: Executor, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    sleeper, waiting = executor.submit(talk, [marker, tmp_path / "other"])
    until(lambda: "asleep" in sleeper.logs())
    assert sleeper.state == "running"
    sleeper.cancel()
    assert executor.first([sleeper]) is sleeper and sleeper.state == "cancelled"
    with pytest.raises(LostError):
        sleeper.result()
    until(lambda: not psutil.pid_exists(int(marker.read_text())))
    until(lambda: "asleep" in waiting.logs())
    assert waiting.state == "running"
    waiting.cancel()


def test_what_dies_each_time_is_told(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(LostError, match=r"a piece of work was lost .* what was finished is kept"):
        list(executor.map(die, [tmp_path / "a", tmp_path / "b"]))
    assert sorted(executor.map(isqrt, [1, 4])) == [1, 2]


def killed_once(job: PilotJob) -> list[PilotFinished]:
    """Trains; the first time its process is killed some steps after the run's first point."""
    marker = marker_of(job)
    if not marker.exists():
        threading.Thread(target=_kill, args=(job, marker), daemon=True).start()
    return run_alone(1, job)


def marker_of(job: PilotJob) -> Path:
    return job.folder.parent / f"{job.run}.killed"


def _kill(job: PilotJob, marker: Path) -> None:
    until(lambda: bool(points_of(job)))
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def asked(corpus: Path, folder: Path) -> list[PilotJob]:
    wanted = Sweep(corpus, folder, [32, 64], [70_000, 200_000], [0], 16, "float32", 1.0, 2000)
    return jobs_of(wanted, load(corpus))


def trained(jobs: list[PilotJob]) -> dict[str, list[tuple[int, float]]]:
    """What the runs recorded."""
    return {job.run: [(point.tokens, point.loss) for point in points_of(job)] for job in jobs}


def test_what_is_lost_is_done_again(executor: Executor, tmp_path: Path) -> None:
    items = [tmp_path / "a", tmp_path / "b"]
    assert sorted(executor.map(die_once, items)) == ["a", "b"] and all(item.exists() for item in items)


@pytest.mark.long
def test_a_sweep_whose_workers_are_killed_ends_as_if_they_had_not_been(
    executor: Executor, corpus: Path, tmp_path: Path
) -> None:
    jobs, undisturbed = asked(corpus, tmp_path / "killed"), asked(corpus, tmp_path / "whole")
    started = time.monotonic()
    assert len(list(executor.map(killed_once, jobs))) == len(jobs)
    seconds = time.monotonic() - started
    assert all(marker_of(job).exists() for job in jobs)
    list(Local(2).map(partial(run_alone, 1), undisturbed))
    assert trained(jobs) == trained(undisturbed) and all(len(points) == 2 for points in trained(jobs).values())
    working = sum(points_of(job)[-1].seconds for job in jobs)
    kind = " ".join([type(executor).__name__, getattr(executor, "cluster", "")])
    print(f"{kind}: {(2 * seconds - working) / len(jobs):.1f} s a job beside its work, with a kill")


@pytest.mark.long
def test_a_run_cancelled_here_goes_on_elsewhere_to_the_same_bytes(
    executor: Executor, corpus: Path, tmp_path: Path
) -> None:
    (job, _), (whole, _) = asked(corpus, tmp_path / "cancelled"), asked(corpus, tmp_path / "whole")
    first, other = executor.submit(partial(run_alone, 1), [job, whole])
    until(lambda: bool(points_of(job)))
    first.cancel()
    other.result()
    assert len(points_of(job)) == 1
    list(Local().map(partial(run_alone, 1), [job]))
    assert trained([job]) == trained([whole])
    assert weights(job) == weights(whole)


def weights(job: PilotJob) -> list[bytes]:
    """Of the trunk where its last branch left it."""
    return [path.read_bytes() for path in sorted(job.folder.rglob("*.safetensors"))]


@pytest.mark.long
def test_a_text_is_prepared_to_the_same_bytes(executor: Executor, tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts")
    assert written_by(executor, texts, tmp_path / "there") == written_by(Local(1), texts, tmp_path / "here")


def written_by(executor: Executor, texts: Path, out: Path) -> dict[str, bytes]:
    """The shards of a prepared text."""
    recipe = Recipe((Source("toy", (str(texts),)),), Refinement(rules=("gopher-quality",)))
    refine_text(recipe, out, executor=executor, watts=1.0)
    return {path.name: path.read_bytes() for path in (out / TEXT).glob("*.parquet")}
