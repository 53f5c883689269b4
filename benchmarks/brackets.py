"""Brackets of learning rate and batch at one size and horizon: what the rules of plan/rules.py rest on (docs/log.md).

    python benchmarks/brackets.py demo --width 128 --tokens 1e6 --batches 1024 2048 --rates 0.004 0.008 0.016

One run a combination, two side by side; prints the validation loss of each in nats per token.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
from pathlib import Path

from corpora import CORPORA, save, stamp
from isoflop.core.products import Recipe
from isoflop.model.count import count_parameters
from isoflop.plan.rules import recipe_for
from isoflop.plan.shapes import shape
from isoflop.text.demo import demo_files
from isoflop.text.prepare import load, open_split, prepare
from isoflop.train import optimizers
from isoflop.train.pilot import validate
from isoflop.train.trainer import Trainer
from isoflop.train.workers import Workers
from prior import CONTEXT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=list(CORPORA))
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--tokens", type=float, default=1e6)
    parser.add_argument("--batches", type=int, nargs="+", default=[1024])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.004, 0.008, 0.016])
    parser.add_argument("--embedding-ratios", type=float, nargs="+", default=[optimizers.EMBEDDING_RATE_RATIO])
    parser.add_argument("--head-ratios", type=float, nargs="+", default=[optimizers.HEAD_RATE_RATIO])
    parser.add_argument("--optimizers", nargs="+", default=["muon"])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    corpus = arguments.out / "corpus"
    if not (corpus / "manifest.json").exists():
        prepare(CORPORA[arguments.corpus] or demo_files(), corpus)
    rows = []
    combinations = itertools.product(
        arguments.batches, arguments.rates, arguments.embedding_ratios, arguments.head_ratios, arguments.optimizers
    )
    with Workers(sorted(os.sched_getaffinity(0))) as workers:
        futures = [
            (values, workers.submit(train, corpus, arguments.width, arguments.tokens, *values))
            for values in combinations
        ]
        for (batch, rate, embedding, head, optimizer), future in futures:
            row = {"batch_tokens": batch, "rate": rate, "embedding": embedding, "head": head, "optimizer": optimizer}
            rows.append(row | {"loss": future.result()})
            print(rows[-1], flush=True)
    save(
        arguments.out / f"brackets-w{arguments.width}-{arguments.tokens:.0e}.json",
        stamp() | {"corpus": arguments.corpus, "width": arguments.width, "tokens": arguments.tokens, "rows": rows},
    )


def train(
    corpus: Path, width: int, tokens: float, batch: int, rate: float, embedding: float, head: float, optimizer: str
) -> float:
    """Validation loss, nats per token, of one run with these choices in place of the rules'."""
    optimizers.EMBEDDING_RATE_RATIO, optimizers.HEAD_RATE_RATIO = embedding, head
    manifest = load(corpus)
    config = shape(width, vocab_size=manifest.vocab_size, context=CONTEXT)
    size = count_parameters(config).matmul
    rules = recipe_for(size, tokens, context=CONTEXT, unique_tokens=manifest.train.num_tokens, seed=0)
    recipe: Recipe = dataclasses.replace(
        rules, batch_tokens=batch, num_steps=int(tokens / batch), learning_rate=rate, optimizer=optimizer
    )
    trainer = Trainer(config, recipe, open_split(corpus, manifest.train), dtype="bfloat16")
    while trainer.num_done < recipe.num_steps:
        trainer.step()
    return validate(trainer, corpus, num_tokens=200_000, dtype="bfloat16").loss


if __name__ == "__main__":
    main()
