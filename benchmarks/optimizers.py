"""Optimizers at equal tokens and at equal time: every rule at several rates, the best of each with more seeds.

    python benchmarks/optimizers.py demo --width 64 --tokens 1e6 --out /tmp/optimizers

Runs go side by side, one a core, by the rules of plan/rules.py but for optimizer and rate. The first table is the
validation loss (nats per token) by rate over the rule's; the second the best rate's mean and spread over seeds, and, at
equal time, the loss after as many tokens as the rule gets through while Muon does ``--tokens``. Some 20 minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from corpora import CORPORA, STRANGERS, save, stamp
from isoflop.core.products import Method
from isoflop.plan.rules import recipe_for
from isoflop.plan.shapes import shape
from isoflop.text.prepare import load, open_split
from isoflop.train.optimizers import OPTIMIZERS
from isoflop.train.pilot import validate
from isoflop.train.trainer import Trainer
from runs import CONTEXT, NUM_VAL_TOKENS, prepared, quick_dtype, side_by_side

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=[*CORPORA, *STRANGERS])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--tokens", type=float, default=1e6)
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS), choices=OPTIMIZERS)
    parser.add_argument("--factors", nargs="+", type=float, default=list(FACTORS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    corpus, width, tokens = prepared(arguments.corpus, arguments.out), arguments.width, arguments.tokens
    rows = [row(name, factor, 0, tokens) for name in arguments.optimizers for factor in arguments.factors]
    brackets = side_by_side(trained, corpus, width, rows)
    best = {name: best_factor(brackets, name) for name in arguments.optimizers}
    repeats = [row(name, best[name], seed, tokens) for name in best for seed in range(1, arguments.seeds)]
    seeds = side_by_side(trained, corpus, width, repeats)
    speeds = {name: speed(corpus, width, name) for name in best}
    timed = [row(name, best[name], 0, tokens * speeds[name] / speeds["muon"]) for name in best if name != "muon"]
    equal_time = side_by_side(trained, corpus, width, timed) if "muon" in best else []
    table = [summary(name, best[name], brackets + seeds, equal_time, speeds) for name in best]
    save(
        arguments.out / "optimizers.json",
        stamp() | {"corpus": arguments.corpus, "width": width, "tokens": tokens, "brackets": brackets, "table": table},
    )


def row(optimizer: str, factor: float, seed: int, tokens: float) -> dict[str, Any]:
    return {"optimizer": optimizer, "factor": factor, "seed": seed, "tokens": tokens}


def trained(corpus: Path, width: int, optimizer: str, factor: float, seed: int, tokens: float) -> float:
    """Validation loss of one run; no number where it diverged."""
    run = trainer_of(corpus, width, optimizer, factor=factor, seed=seed, tokens=tokens)
    while run.num_done < run.recipe.num_steps:
        run.step()
    return validate(run, corpus, num_tokens=NUM_VAL_TOKENS, dtype=quick_dtype()).loss


def trainer_of(corpus: Path, width: int, optimizer: str, *, factor: float, seed: int, tokens: float) -> Trainer:
    manifest = load(corpus)
    config = shape(width, vocab_size=manifest.vocab_size, context=CONTEXT)
    recipe = recipe_for(
        tokens,
        context=CONTEXT,
        unique_tokens=manifest.train.num_tokens,
        seed=seed,
        method=Method(optimizer),
    )
    recipe = dataclasses.replace(recipe, learning_rate=recipe.learning_rate * factor)
    return Trainer(config, recipe, open_split(corpus, manifest.train), dtype=quick_dtype())


def speed(corpus: Path, width: int, optimizer: str, *, num_steps: int = 40) -> float:
    """Tokens a second, from the median step."""
    run = trainer_of(corpus, width, optimizer, factor=1.0, seed=0, tokens=1e6)
    seconds = []
    for _ in range(num_steps):
        started = time.perf_counter()
        run.step()
        seconds.append(time.perf_counter() - started)
    return run.recipe.batch_tokens / float(np.median(seconds[2:]))


def best_factor(brackets: list[dict[str, Any]], optimizer: str) -> float:
    rows = [each for each in brackets if each["optimizer"] == optimizer and np.isfinite(each["loss"])]
    return float(min(rows, key=lambda each: each["loss"])["factor"])


def summary(
    optimizer: str, factor: float, runs: list[dict[str, Any]], timed: list[dict[str, Any]], speeds: dict[str, float]
) -> dict[str, Any]:
    losses = [r["loss"] for r in runs if r["optimizer"] == optimizer and r["factor"] == factor]
    at_time = [r["loss"] for r in timed if r["optimizer"] == optimizer]
    return {
        "optimizer": optimizer,
        "factor": factor,
        "loss": float(np.mean(losses)),
        "sd": float(np.std(losses, ddof=1)) if len(losses) > 1 else None,
        "tokens_per_second": speeds[optimizer],
        "loss_at_equal_time": at_time[0] if at_time else losses[0],
    }


if __name__ == "__main__":
    main()
