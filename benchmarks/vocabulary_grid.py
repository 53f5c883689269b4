"""What a vocabulary does to the loss: small models of several widths on equal bytes cut into words of several sizes.

    python benchmarks/vocabulary_grid.py demo --sizes 2048 4096 8192 16384 --out /tmp/grid

Fits the law of parameters, bytes and vocabulary (`law/forms/vocabulary.py`, nats per byte) to all points, and says
which vocabulary it would choose at several budgets of FLOPs. Some 15 minutes a text on two cores; finished runs in
--out are not repeated.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import isoflop
from corpora import CORPORA, STRANGERS, save, stamp, tell
from isoflop.core.products import CorpusManifest, LawReport
from isoflop.fleet.local import Local
from isoflop.law.table import Table
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters, flops_per_token
from isoflop.plan.shapes import ladder
from isoflop.plan.sweep import Sweep, jobs_of
from isoflop.sweep_verbs import points_of, run_alone
from isoflop.text.demo import demo_files
from isoflop.text.prepare import load, prepare

CONTEXT = 256
SHARES = (0.25, 0.5, 1.0)
BUDGETS = (1e13, 3e13, 1e14, 3e14, 1e15, 3e15)
NUM_VAL_TOKENS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=[*CORPORA, *STRANGERS])
    parser.add_argument("--sizes", nargs="+", type=int, default=[2048, 4096, 8192, 16384])
    parser.add_argument("--widths", nargs="+", type=int, default=[64, 128, 192])
    parser.add_argument("--bytes", type=float, default=4e6, help="Of the longest runs.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    texts = (CORPORA | STRANGERS)[arguments.corpus] or demo_files()
    rows, tokens_per_byte = [], {}
    for size in arguments.sizes:
        folder = arguments.out / arguments.corpus / str(size)
        if not (folder / "manifest.json").exists():
            prepare(texts, folder, vocab_size=size)
        manifest = load(folder)
        tokens_per_byte[size] = manifest.train.num_tokens / manifest.train.num_bytes
        rows += points(folder, manifest, arguments.widths, arguments.bytes * tokens_per_byte[size])
    law = fitted(rows)
    chosen = [cheapest(law, tokens_per_byte, flops) for flops in BUDGETS]
    save(
        arguments.out / f"{arguments.corpus}.json",
        stamp()
        | {"corpus": arguments.corpus, "tokens_per_byte": tokens_per_byte, "rows": rows}
        | {"parameters": law.parameters, "standard_errors": law.standard_errors, "chosen": chosen},
    )


def points(folder: Path, manifest: CorpusManifest, widths: list[int], tokens: float) -> list[dict[str, Any]]:
    """What models of these widths reach on shares of so many tokens."""
    lengths = [share * tokens for share in SHARES]
    asked = Sweep(folder, folder / "sweep", widths, lengths, [0], CONTEXT, "bfloat16", 1.0, NUM_VAL_TOKENS)
    jobs = jobs_of(asked, manifest)
    cores = len(os.sched_getaffinity(0))
    missing = [job for job in jobs if len(points_of(job)) < len(SHARES)]
    list(Local(cores).map(partial(run_alone, 1), missing))
    rows = [
        {
            "vocabulary": manifest.vocab_size,
            "width": point.hidden_size,
            "params": count_parameters(ModelConfig(**job.model)).non_embedding,
            "tokens": point.tokens * manifest.train.num_bytes / manifest.train.num_tokens,
            "loss": point.bits_per_byte * math.log(2),
        }
        for job in jobs
        for point in points_of(job)
    ]
    for row in rows:
        tell(row)
    return rows


def fitted(rows: list[dict[str, Any]]) -> LawReport:
    """The law; its tokens are bytes, its parameters those outside embedding and head."""
    names = ("params", "tokens", "vocabulary", "loss")
    table = Table.of({name: [row[name] for row in rows] for name in names})
    return isoflop.fit(table, form="vocabulary").laws[0].report()


def cheapest(law: LawReport, tokens_per_byte: dict[int, float], flops: float) -> dict[str, float]:
    """Vocabulary and width of the least loss for so many FLOPs, and what the best of the other vocabularies lose."""
    best = {size: min(losses(law, size, share, flops)) for size, share in tokens_per_byte.items()}
    chosen = min(best, key=lambda size: best[size])
    return {"flops": flops, "vocabulary": chosen, "width": best[chosen][1]} | {
        f"of_{size}": best[size][0] / best[chosen][0] - 1 for size in best
    }


def losses(law: LawReport, size: int, tokens_per_byte: float, flops: float) -> list[tuple[float, int]]:
    """Nats per byte of each width of the ladder that spends the FLOPs on text cut into so many kinds of words."""
    found = []
    for config in ladder(size, CONTEXT):
        num_bytes = flops / flops_per_token(config, context=CONTEXT) / tokens_per_byte
        worth = num_bytes / size ** law.parameters["phi"]
        found.append((loss(law.parameters, count_parameters(config).non_embedding, worth), config.hidden_size))
    return found


def loss(law: Mapping[str, float], params: float, worth: float) -> float:
    """E + ((A / N^alpha)^p + (B / W^beta)^p)^(1/p), W the bytes over V^phi."""
    power = law["p"]
    parts = (law["A"] / params ** law["alpha"]) ** power + (law["B"] / worth ** law["beta"]) ** power
    return law["E"] + parts ** (1 / power)


if __name__ == "__main__":
    main()
