r"""Brackets of learning rate and batch at one size and horizon: what the rules of plan/rules.py rest on (docs/log.md).

    python benchmarks/brackets.py demo --width 128 --tokens 1e6 --batches 1024 2048 --rates 0.004 0.008 0.016

Rates are those at width 128, which `train.optimizers` scales to others. One run a combination, two side by
side; prints the validation loss of each in nats per token. Whether one rate suits every width, which is what the
parametrization promises:

    for width in 64 128 256 512; do python benchmarks/brackets.py demo --width $width --layers 2 --tokens 2.5e5 \
        --rates 0.004 0.008 0.016 0.032 --out /tmp/widths; done
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from corpora import CORPORA, STRANGERS, save, stamp
from isoflop.train import optimizers
from runs import prepared, side_by_side, train_once

COLUMNS = ("tokens", "batch_tokens", "rate", "embedding", "head", "optimizer", "layers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=[*CORPORA, *STRANGERS])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, help="as many as the ladder of shapes has for the width, otherwise")
    parser.add_argument("--tokens", type=float, default=1e6)
    parser.add_argument("--batches", type=int, nargs="+", default=[1024])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.004, 0.008, 0.016])
    parser.add_argument("--embedding-ratios", type=float, nargs="+", default=[optimizers.EMBEDDING_RATE_RATIO])
    parser.add_argument("--head-ratios", type=float, nargs="+", default=[optimizers.HEAD_RATE_RATIO])
    parser.add_argument("--optimizers", nargs="+", default=["muon"])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    combinations = itertools.product(
        [arguments.tokens],
        arguments.batches,
        arguments.rates,
        arguments.embedding_ratios,
        arguments.head_ratios,
        arguments.optimizers,
        [arguments.layers],
    )
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in combinations]
    rows = side_by_side(train, prepared(arguments.corpus, arguments.out), arguments.width, rows)
    save(
        arguments.out / f"brackets-w{arguments.width}-{arguments.tokens:.0e}.json",
        stamp() | {"corpus": arguments.corpus, "width": arguments.width, "rows": rows},
    )


def train(
    corpus: Path,
    width: int,
    tokens: float,
    batch: int,
    rate: float,
    embedding: float,
    head: float,
    optimizer: str,
    layers: int | None,
) -> float:
    """Validation loss, nats per token, of one run with these choices in place of the rules'."""
    optimizers.EMBEDDING_RATE_RATIO, optimizers.HEAD_RATE_RATIO = embedding, head
    changes = {"batch_tokens": batch, "learning_rate": rate, "optimizer": optimizer}
    return train_once(corpus, width, tokens, layers=layers, **changes)


if __name__ == "__main__":
    main()
