"""What `isoflop sweep` does; imported only by the verb that is called."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from isoflop.core import codec
from isoflop.core.errors import BudgetError, DivergedError, StudyError
from isoflop.core.executor import Executor
from isoflop.core.files import file_sha256, read_json, write_checked_json, write_text
from isoflop.core.process import interruptible
from isoflop.core.products import StudyWarning
from isoflop.core.progress import Progress
from isoflop.core.records import PilotFinished, read_records
from isoflop.fleet.choose import Place, executor_on
from isoflop.machine.limits import usable_cores
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.sweep import Sweep, jobs_of
from isoflop.text.prepare import MANIFEST, load
from isoflop.train.pilot import PilotJob, run_pilot

POINTS = "points.csv"
JOB = "job.json"


def sweep(
    corpus: Path,
    out: Path,
    *,
    widths: str,
    tokens: str,
    seeds: str,
    context: int,
    dtype: str,
    rate_factor: float,
    num_val_tokens: int,
    workers: int | None,
    on: Place,
    quiet: bool,
) -> dict[str, Any]:
    """Trains a model of each width and seed, with a point for each number of tokens, into ``out``/points.csv.

    What an earlier call finished is kept. A run that diverges is left out, with a warning.
    """
    folder = corpus / "corpus" if (corpus / "study.toml").is_file() else corpus
    asked = Sweep(
        corpus=folder.absolute(),
        folder=out.absolute(),
        widths=[int(width) for width in _numbers(widths, "--widths", _is_width)],
        tokens=sorted(_numbers(tokens, "--tokens", _is_amount)),
        seeds=[int(seed) for seed in _numbers(seeds, "--seeds", _is_seed)],
        context=context,
        dtype=dtype,
        rate_factor=rate_factor,
        num_val_tokens=num_val_tokens,
    )
    jobs = jobs_of(asked, load(folder))
    for job in jobs:
        _claim(job)
    started = time.monotonic()
    executor = executor_on(on, workers=workers, folder=out / "jobs")
    with interruptible(), Progress(remaining=lambda: math.inf, quiet=quiet) as progress:
        progress.stage("sweep")
        warnings = _train(jobs, executor, _threads(on, workers), progress)
    points = [(job, point) for job in jobs for point in points_of(job)]
    if not points:
        raise StudyError("every run diverged", where=str(out), remedy="Take a smaller --rate-factor")
    write_text(out / POINTS, _table(points))
    return {
        "points": str(out / POINTS),
        "num_runs": len(jobs),
        "seconds": time.monotonic() - started,
        "run_seconds": sum(points_of(job)[-1].seconds for job in jobs if points_of(job)),
        "warnings": codec.encode(warnings),
        "losses": [
            {"run": job.run, "tokens": point.tokens, "loss": point.loss, "bits_per_byte": point.bits_per_byte}
            for job, point in points
        ],
    }


def points_of(job: PilotJob) -> list[PilotFinished]:
    """Those that the run has recorded so far."""
    records = (stamped.record for stamped in read_records(job.records))
    return [record for record in records if isinstance(record, PilotFinished)]


def run_alone(num_threads: int, job: PilotJob) -> list[PilotFinished]:
    """What an executor's process does."""
    torch.set_num_threads(num_threads)
    return run_pilot(job)


def _train(jobs: list[PilotJob], executor: Executor, num_threads: int, progress: Progress) -> list[StudyWarning]:
    """Those that are not finished, as warnings of what did not come to its end."""
    missing = [job for job in jobs if len(points_of(job)) < len(job.branch_steps)]
    warnings = []
    for number, ended in enumerate(executor.ended(partial(run_alone, num_threads), missing), 1):
        try:
            points = ended.result()
        except DivergedError as error:
            warnings.append(StudyWarning("run_diverged", f"{error.where}: {error.what}; its later points are missing"))
        else:
            progress.update(number / len(missing), run=points[-1].run, loss=points[-1].loss)
    return warnings


def _threads(on: Place, workers: int | None) -> int:
    """Each worker's: one, unless there is but one worker here."""
    return usable_cores() if on == "local" and workers == 1 else 1


def _claim(job: PilotJob) -> None:
    """Notes what the run is; raises `StudyError` where its folder holds another one."""
    what = (job.model, job.recipe, job.branch_steps, job.dtype, job.num_val_tokens)
    told = {"corpus_sha256": file_sha256(job.corpus / MANIFEST), "run": codec.encode(what)}
    path = job.folder / JOB
    if path.is_file() and read_json(path) != told:
        raise StudyError("another run is here", where=str(job.folder), remedy="Sweep into another --out")
    job.folder.mkdir(parents=True, exist_ok=True)
    write_checked_json(path, told)


def _table(points: Sequence[tuple[PilotJob, PilotFinished]]) -> str:
    """As `isoflop fit` reads it, in all three ways of counting parameters."""
    file = io.StringIO()
    rows = [_row(job, point) for job, point in points]
    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _row(job: PilotJob, point: PilotFinished) -> dict[str, Any]:
    counts = count_parameters(ModelConfig(**job.model))
    return {
        "run": job.run,
        "params": counts.matmul,
        "params_all": counts.all,
        "params_non_embedding": counts.non_embedding,
        "tokens": point.tokens,
        "unique_tokens": point.unique_tokens,
        "flops": point.flops,
        "loss": point.loss,
        "bits_per_byte": point.bits_per_byte,
        "steps": point.num_steps,
        "peak_rate": point.learning_rate,
        "batch_tokens": point.batch_tokens,
        "seed": point.seed,
    }


def _numbers(text: str, where: str, allowed: Callable[[float], bool]) -> Iterator[float]:
    """Of a list with commas between. Raises `BudgetError` for what is none, or not allowed."""
    for part in text.split(","):
        try:
            number = float(part)
        except ValueError:
            number = math.nan
        if not allowed(number):
            raise BudgetError(f"{part.strip()!r} cannot be one", where=where, remedy=_REMEDIES[where])
        yield number


_REMEDIES = {
    "--widths": "Write multiples of 32 with commas between: 64,128,256",
    "--tokens": "Write amounts with commas between: 1e6,2e6,4e6",
    "--seeds": "Write whole numbers with commas between: 0,1",
}


def _is_width(number: float) -> bool:
    return number >= 32 and number % 32 == 0 and math.isfinite(number)


def _is_amount(number: float) -> bool:
    return math.isfinite(number) and number > 0


def _is_seed(number: float) -> bool:
    return number >= 0 and number.is_integer()
