"""Small runs by the rules of plan/rules.py, or by what is named in their place; what brackets and repetition share."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from corpora import CORPORA, STRANGERS
from isoflop.machine.measure import matmul_peak
from isoflop.plan.rules import recipe_for
from isoflop.plan.shapes import shape
from isoflop.text.demo import demo_files
from isoflop.text.prepare import load, open_split, prepare
from isoflop.train.pilot import validate
from isoflop.train.trainer import Trainer
from isoflop.train.workers import Workers

CONTEXT = 256
NUM_VAL_TOKENS = 200_000


def prepared(name: str, out: Path) -> Path:
    """The corpus folder under ``out``, made from the benchmark corpus ``name`` where it is not there yet."""
    corpus = out / "corpus"
    if not (corpus / "manifest.json").exists():
        prepare((CORPORA | STRANGERS)[name] or demo_files(), corpus)
    return corpus


@cache
def quick_dtype() -> str:
    """What this machine multiplies faster: bfloat16 where it has instructions for it."""
    return max(("float32", "bfloat16"), key=lambda name: matmul_peak(name, torch.device("cpu")))


def side_by_side(
    train: Callable[..., float], corpus: Path, width: int, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each row with the ``loss`` of ``train(corpus, width, **row)``; one run a core, printed as they end."""
    with Workers(sorted(os.sched_getaffinity(0))) as workers:
        futures = [workers.submit(train, corpus, width, *row.values()) for row in rows]
        done = []
        for row, future in zip(rows, futures, strict=True):
            done.append(row | {"loss": future.result()})
            print(done[-1], flush=True)
    return done


def train_once(
    corpus: Path,
    width: int,
    tokens: float,
    *,
    unique_tokens: int | None = None,
    dropout: float = 0.0,
    layers: int | None = None,
    **changes: Any,
) -> float:
    """Validation loss, nats per token, of one run; ``changes`` are fields of the recipe in place of the rules'. Of as
    many ``layers`` as the ladder of shapes has, where nobody says."""
    manifest = load(corpus)
    config = shape(width, vocab_size=manifest.vocab_size, context=CONTEXT)
    config = dataclasses.replace(config, num_hidden_layers=layers or config.num_hidden_layers)
    unique = unique_tokens or manifest.train.num_tokens
    rules = recipe_for(tokens, context=CONTEXT, unique_tokens=unique, seed=0)
    recipe = dataclasses.replace(rules, **changes)
    recipe = dataclasses.replace(recipe, num_steps=int(tokens / recipe.batch_tokens))
    config = dataclasses.replace(config, dropout=dropout)
    trainer = Trainer(config, recipe, open_split(corpus, manifest.train), dtype=quick_dtype())
    while trainer.num_done < recipe.num_steps:
        trainer.step()
    return validate(trainer, corpus, num_tokens=NUM_VAL_TOKENS, dtype=quick_dtype()).loss
