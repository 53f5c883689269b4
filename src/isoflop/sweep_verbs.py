"""What `isoflop sweep` does; imported only by the verb that is called."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from isoflop.core import codec
from isoflop.core.errors import BudgetError, DivergedError, StudyError
from isoflop.core.executor import Executor, Place
from isoflop.core.files import claimed, file_sha256, read_json, write_checked_json, write_text
from isoflop.core.journal import RecordLog, read_records
from isoflop.core.process import interruptible
from isoflop.core.products import MAX_SEED, StudyWarning
from isoflop.core.progress import Progress
from isoflop.core.records import PilotFinished
from isoflop.fleet.choose import executor_on
from isoflop.machine.limits import usable_cores
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.sweep import RECORDS, Sweep, jobs_of
from isoflop.text.prepare import MANIFEST, load
from isoflop.train.pilot import PilotJob, run_pilot

POINTS = "points.csv"
JOB = "job.json"
Number = TypeVar("Number", int, float)


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
    """Trains a model of each width and seed, with a point for each number of tokens, into ``out``.

    ``out``/points.csv holds the points of all its runs, those of earlier calls too, which are not trained again. A run
    that diverges is left out, with a warning.
    """
    folder = corpus / "corpus" if (corpus / "study.toml").is_file() else corpus
    asked = Sweep(
        corpus=folder.absolute(),
        folder=out.absolute(),
        widths=_numbers(widths, "--widths", int, lambda width: width >= 32 and width % 32 == 0),
        tokens=sorted(_numbers(tokens, "--tokens", float, lambda amount: 0 < amount < math.inf)),
        seeds=_numbers(seeds, "--seeds", int, lambda seed: 0 <= seed <= MAX_SEED),
        context=context,
        dtype=dtype,
        rate_factor=rate_factor,
        num_val_tokens=num_val_tokens,
    )
    jobs = jobs_of(asked, load(folder))
    started = time.monotonic()
    with claimed(out), interruptible(), Progress(remaining=lambda: math.inf, quiet=quiet) as progress:
        _refuse_other_corpus(out, folder)
        for job in jobs:
            _claim(job)
        progress.stage("sweep")
        missing = [job for job in jobs if len(points_of(job)) < len(job.branch_steps)]
        with closing(executor_on(on, workers=workers, folder=out / "jobs")) as executor:
            warnings = _train(missing, executor, _threads(on, workers, len(missing)), progress)
        rows = [row for path in sorted(out.glob(f"runs/*/{JOB}")) for row in _rows(path)]
        if not rows:
            raise StudyError("every run diverged", where=str(out), remedy="Take a smaller --rate-factor")
        write_text(out / POINTS, _table(rows))
    return {
        "points": str(out / POINTS),
        "num_runs": len(jobs),
        "seconds": time.monotonic() - started,
        "warnings": codec.encode(warnings),
        "losses": [{name: row[name] for name in ("run", "tokens", "loss", "bits_per_byte")} for row in rows],
    }


def points_of(job: PilotJob) -> list[PilotFinished]:
    """Those that the run has recorded so far."""
    return recorded(job.records)


def recorded(path: Path) -> list[PilotFinished]:
    """The points in a run's records."""
    records = (stamped.record for stamped in read_records(path))
    return [record for record in records if isinstance(record, PilotFinished)]


def run_alone(num_threads: int, job: PilotJob) -> list[PilotFinished]:
    """What an executor's process does; the only one at work on this run."""
    torch.set_num_threads(num_threads)
    job.folder.mkdir(parents=True, exist_ok=True)
    with closing(RecordLog(job.records)) as log:
        log.claim()
        return run_pilot(job)


def _train(missing: list[PilotJob], executor: Executor, num_threads: int, progress: Progress) -> list[StudyWarning]:
    """The runs that are not finished, and what to say of those that did not come to their end."""
    warnings = []
    with closing(executor.ended(partial(run_alone, num_threads), missing)) as jobs:
        for number, ended in enumerate(jobs, 1):
            try:
                points = ended.result()
            except DivergedError as error:
                what = f"{error.where}: {error.what}; its later points are missing"
                warnings.append(StudyWarning("run_diverged", what))
            else:
                progress.update(number / len(missing), run=points[-1].run, loss=points[-1].loss)
    return warnings


def _threads(on: Place, workers: int | None, num_runs: int) -> int:
    """Each run's: one, unless there is but one run at once here."""
    return usable_cores() if on == "local" and min(workers or usable_cores(), num_runs) == 1 else 1


def _refuse_other_corpus(out: Path, corpus: Path) -> None:
    """Losses on another corpus would stand in the same table."""
    ours = file_sha256(corpus / MANIFEST)
    if any(read_json(path)["corpus_sha256"] != ours for path in out.glob(f"runs/*/{JOB}")):
        raise StudyError("runs on another corpus are here", where=str(out), remedy="Sweep into another --out")


def _claim(job: PilotJob) -> None:
    """Notes what the run is; raises `StudyError` where its folder holds another one."""
    told = {
        "corpus_sha256": file_sha256(job.corpus / MANIFEST),
        "model": job.model,
        "recipe": codec.encode(job.recipe),
        "branch_steps": job.branch_steps,
        "dtype": job.dtype,
        "num_val_tokens": job.num_val_tokens,
    }
    path = job.folder / JOB
    if path.is_file() and read_json(path) != told:
        raise StudyError("another run is here", where=str(job.folder), remedy="Sweep into another --out")
    job.folder.mkdir(parents=True, exist_ok=True)
    write_checked_json(path, told)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The points of one run, as `isoflop fit` reads them, in all three ways of counting parameters."""
    counts = count_parameters(ModelConfig(**read_json(path)["model"]))
    for point in recorded(path.with_name(RECORDS)):
        yield {
            "run": path.parent.name,
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


def _table(rows: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _numbers(text: str, where: str, kind: type[Number], allowed: Callable[[Number], bool]) -> list[Number]:
    """Those of a list with commas between, each once. Raises `BudgetError` for what is none, or not allowed."""
    numbers = []
    for part in text.split(","):
        try:
            number = kind(part)
        except ValueError:
            number = None
        if number is None or not allowed(number):
            raise BudgetError(f"{part.strip()!r} cannot be one", where=where, remedy=_REMEDIES[where])
        numbers.append(number)
    return list(dict.fromkeys(numbers))


_REMEDIES = {
    "--widths": "Write multiples of 32 with commas between: 64,128,256",
    "--tokens": "Write amounts with commas between: 1e6,2e6,4e6",
    "--seeds": "Write whole numbers with commas between: 0,1",
}
