"""Regret: what would other sizes have reached, had the whole budget gone into training them?

    python benchmarks/regret.py --study /tmp/budget/demo-10min --out /tmp/regret

Trains sizes 1/2, 3/4, 1, 3/2 and 2 of the plan's, each by the same recipe rules for the *whole* budget of the study,
without measuring, pilots or planning (less where a text would be learnt by heart), and scores them on the same test
documents. The bar: isoflop's bits per byte at most 0.02 above the best of them. Takes five budgets; finished sizes in
--out are not repeated.

Beside it, what the study's law says of these sizes under other prices of repeating text: measured over predicted bits
per byte, mean and sd over the sizes. A law with the right price has the least sd; the mean is its error otherwise.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpora import save, stamp
from isoflop.core.journal import read_records
from isoflop.core.process import tune_process
from isoflop.core.records import Scored
from isoflop.law.forms import PARAMS, TOKENS, UNIQUE, form_of
from isoflop.machine.limits import usable_cores
from isoflop.machine.measure import pick_device, time_steps
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.planner import make_plan, weigh
from isoflop.plan.rules import recipe_for
from isoflop.plan.shapes import shape
from isoflop.report.terminal import facts
from isoflop.run import STAGES
from isoflop.stages.plan import question_of
from isoflop.stages.train import trained
from isoflop.study import Study, open_session

FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
R_D, R_N = (3.0, 5.0, 7.0, 15.0), (0.5, 1.0, 5.3, 20.0)
"""Scales of repetition that are tried."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="a finished study")
    parser.add_argument("--factors", nargs="+", type=float, default=list(FACTORS))
    parser.add_argument("--dropout", type=float, help="of the models trained; plans themselves use none")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tune_process(__file__)
    torch.set_num_threads(usable_cores())
    ours = facts(arguments.study)["test_bits_per_byte"]
    name = "x{:g}" if arguments.dropout is None else f"x{{:g}}-dropout-{arguments.dropout:g}"
    rows = [
        train_size(arguments.study, factor, arguments.out / name.format(factor), dropout=arguments.dropout)
        for factor in arguments.factors
    ]
    best = min(row["bits_per_byte"] for row in rows)
    result = {"isoflop": ours, "best": best, "regret": ours - best, "rows": rows}
    save(arguments.out / "regret.json", stamp() | result | {"prices": prices(Study(arguments.study), rows)})


def prices(study: Study, rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Errors of the study's law on whole runs by the two scales of repetition (``law/forms/repeated.py``)."""
    form, given = form_of(study.law.form), dict(study.law.parameters)
    at = {
        PARAMS: np.array([float(row["num_parameters"]) for row in rows]),
        TOKENS: np.array([float(row["tokens"]) for row in rows]),
        UNIQUE: np.full(len(rows), float(study.plan.recipe.unique_tokens)),
    }

    def predicted(scales: dict[str, float]) -> np.ndarray:
        return np.exp(form.log_loss(form.theta_of(np.array([(given | scales)[name] for name in form.parameters])), at))

    bits = np.array([row["predicted"] for row in rows]) / predicted({})
    found = []
    for tokens, size in itertools.product(R_D, R_N):
        ratios = np.array([row["bits_per_byte"] for row in rows]) / (bits * predicted({"R_D*": tokens, "R_N*": size}))
        found.append({"R_D*": tokens, "R_N*": size, "mean": float(ratios.mean() - 1), "sd": float(ratios.std())})
    return found


def train_size(source: Path, factor: float, folder: Path, *, dropout: float | None) -> dict[str, Any]:
    """Trains one size for the whole budget of ``source`` and scores it."""
    study = Study(folder)
    if not (folder / "plan.json").exists():
        _borrow(Study(source), study, factor, dropout)
    with open_session(study, command="benchmarks/regret.py", quiet=False) as (session, _):
        for stage in STAGES:
            if stage.name in ("train", "evaluate") and not stage.done(study):
                session.progress.stage(f"{stage.name} x{factor:g}")
                stage.work(study, session, None)
    scored = [s.record for s in read_records(study.records) if isinstance(s.record, Scored)][-1]
    plan, tokens = study.plan, trained(study).tokens_seen
    return {
        "factor": factor,
        "num_parameters": plan.num_parameters.matmul,
        "num_layers": plan.model["num_hidden_layers"],
        "hidden_size": plan.model["hidden_size"],
        "dropout": plan.model["dropout"],
        "tokens": tokens,
        "epochs": tokens / plan.recipe.unique_tokens,
        "bits_per_byte": scored.bits_per_byte,
        "predicted": plan.forecast.bits_per_byte.central,
    }


def _borrow(source: Study, study: Study, factor: float, dropout: float | None) -> None:
    """A study with the source's corpus, machine and law, and a plan of another size for the whole budget."""
    study.folder.mkdir(parents=True)
    for name in ("study.toml", "machine.json", "law.json"):
        shutil.copy(source.folder / name, study.folder / name)
    study.corpus.symlink_to(source.corpus.resolve())
    question, seconds = question_of(study), study.budget_seconds
    config = nearest_shape(factor * source.plan.num_parameters.matmul, ModelConfig(**source.plan.model))
    guess = weigh(question, config, seconds=seconds, speedup=1.3)
    if dropout is not None:
        guess = dataclasses.replace(guess, config=dataclasses.replace(guess.config, dropout=dropout))
    recipe = recipe_for(guess.tokens, context=question.context, unique_tokens=1 << 16, seed=0)
    timing = time_steps(
        guess.config,
        recipe,
        dtype=question.machine.dtype,
        device=pick_device(),
        seconds=2.0,
        compiled=source.plan.compiled,
    )
    plan = make_plan(
        question,
        guess,
        [guess],
        budget_seconds=seconds,
        training_seconds=seconds,
        tokens_per_second=recipe.batch_tokens / timing.seconds,
        compiled=source.plan.compiled,
        num_threads=torch.get_num_threads(),
        trunk=None,
        what_if=[],
        warnings=[],
    )
    study.write("plan.json", plan)


def nearest_shape(size: float, like: ModelConfig) -> ModelConfig:
    """The shape of about ``size`` matmul parameters whose depth is nearest to the ladder's."""

    def misfit(config: ModelConfig) -> float:
        ladder = shape(config.hidden_size, vocab_size=config.vocab_size, context=config.max_position_embeddings)
        off = abs(math.log(count_parameters(config).matmul / size))
        return off + 0.1 * abs(math.log(config.num_hidden_layers / ladder.num_hidden_layers))

    options = []
    for width in range(32, 1025, 32):
        ladder = shape(width, vocab_size=like.vocab_size, context=like.max_position_embeddings)
        options += [dataclasses.replace(ladder, num_hidden_layers=layers) for layers in range(1, 25)]
    return min(options, key=misfit)


if __name__ == "__main__":
    main()
