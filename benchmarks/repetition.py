"""What helps when text is repeated: dropout and weight decay over epochs of a part of a corpus (docs/log.md).

    python benchmarks/repetition.py demo --unique 3e5 --epochs 6 --dropouts 0 0.1 0.2 --decays 0.1 0.3 --out DIR

One run a combination, two side by side, by the recipe's rules but for what is named; prints the validation loss of each
in nats per token, and first that of as many tokens with as little repetition as the corpus allows.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from corpora import CORPORA, STRANGERS, save, stamp
from isoflop.plan.rules import WEIGHT_DECAY
from isoflop.text.prepare import load
from runs import prepared, side_by_side, train_once


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
    corpus = prepared(arguments.corpus, arguments.out)
    available = load(corpus).train.num_tokens
    unique = min(int(arguments.unique), available)

    def row(tokens: float, unique: int, dropout: float, decay: float) -> dict[str, Any]:
        return {"tokens": tokens, "unique": unique, "dropout": dropout, "decay": decay}

    totals = [unique * epochs for epochs in arguments.epochs]
    plain = [row(total, min(int(total), available), 0.0, WEIGHT_DECAY) for total in totals]
    choices = itertools.product(totals, [unique], arguments.dropouts, arguments.decays)
    rows = side_by_side(train, corpus, arguments.width, plain + [row(*choice) for choice in choices])
    save(
        arguments.out / f"repetition-w{arguments.width}-{unique:.0e}.json",
        stamp() | {"corpus": arguments.corpus, "width": arguments.width, "rows": rows},
    )


def train(corpus: Path, width: int, tokens: float, unique: int, dropout: float, decay: float) -> float:
    """Validation loss, nats per token, of one run over the first ``unique`` tokens."""
    return train_once(corpus, width, tokens, unique_tokens=unique, dropout=dropout, weight_decay=decay)


if __name__ == "__main__":
    main()
