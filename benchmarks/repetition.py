"""What helps when text is repeated: dropout and weight decay over epochs of a part of a corpus (docs/log.md).

    python benchmarks/repetition.py demo --unique 3e5 --epochs 6 --dropouts 0 0.1 0.2 --decays 0.1 0.3 --out DIR

One run a combination, two side by side, by the recipe's rules but for what is named; prints the validation loss of each
in nats per token, and first that of as many tokens without repetition.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
from pathlib import Path

from corpora import CORPORA, STRANGERS, save, stamp
from isoflop.model.count import count_parameters
from isoflop.plan.rules import WEIGHT_DECAY, recipe_for
from isoflop.plan.shapes import shape
from isoflop.text.demo import demo_files
from isoflop.text.prepare import load, open_split, prepare
from isoflop.train.pilot import validate
from isoflop.train.trainer import Trainer
from isoflop.train.workers import Workers
from prior import CONTEXT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=[*CORPORA, *STRANGERS])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--unique", type=float, default=3e5)
    parser.add_argument("--epochs", type=float, nargs="+", default=[6])
    parser.add_argument("--dropouts", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--decays", type=float, nargs="+", default=[WEIGHT_DECAY])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    corpus = arguments.out / "corpus"
    if not (corpus / "manifest.json").exists():
        prepare(CORPORA[arguments.corpus] or demo_files(), corpus)
    repeated = itertools.product((int(arguments.unique),), arguments.epochs, arguments.dropouts, arguments.decays)
    plain = [(int(arguments.unique * epochs), 1.0, 0.0, WEIGHT_DECAY) for epochs in arguments.epochs]
    rows = []
    with Workers(sorted(os.sched_getaffinity(0))) as workers:
        futures = [(values, workers.submit(train, corpus, arguments.width, *values)) for values in (*plain, *repeated)]
        for (unique, epochs, dropout, decay), future in futures:
            row = {"unique": unique, "epochs": epochs, "dropout": dropout, "decay": decay}
            rows.append(row | {"loss": future.result()})
            print(rows[-1], flush=True)
    save(
        arguments.out / f"repetition-w{arguments.width}-{arguments.unique:.0e}.json",
        stamp() | {"corpus": arguments.corpus, "width": arguments.width, "rows": rows},
    )


def train(corpus: Path, width: int, unique: int, epochs: float, dropout: float, decay: float) -> float:
    """Validation loss, nats per token, of one run over the first ``unique`` tokens."""
    manifest = load(corpus)
    config = shape(width, vocab_size=manifest.vocab_size, context=CONTEXT)
    size = count_parameters(config).matmul
    rules = recipe_for(size, unique * epochs, context=CONTEXT, unique_tokens=unique, seed=0)
    recipe = dataclasses.replace(rules, weight_decay=decay)
    config = dataclasses.replace(config, dropout=dropout)
    trainer = Trainer(config, recipe, open_split(corpus, manifest.train), dtype="bfloat16")
    while trainer.num_done < recipe.num_steps:
        trainer.step()
    return validate(trainer, corpus, num_tokens=200_000, dtype="bfloat16").loss


if __name__ == "__main__":
    main()
