"""What a vocabulary does to the loss: small models of several widths on equal bytes cut into words of several sizes.

    python benchmarks/vocabulary_grid.py demo --sizes 2048 4096 8192 --out /tmp/grid

Compares every point with the mean of the prior (`law/prior.py`), whose floor is held to as many nats a byte for every
vocabulary: what is left of the difference, per e-fold of words, is the rise of A0 and B0. Then how far losses fall
beside those of trigrams counted on as many tokens (by width), and which vocabulary `isoflop run` would choose at some
budgets of FLOPs. Some 15 minutes a text on two cores; finished runs in --out are not repeated.
"""

from __future__ import annotations

import argparse
import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from corpora import CORPORA, STRANGERS, save, stamp, tell
from isoflop.core.products import CorpusManifest
from isoflop.evaluate.score import scored_positions
from isoflop.evaluate.yardsticks import token_counts
from isoflop.fleet.local import Local
from isoflop.law.forms import PARAMS, TOKENS, UNIQUE
from isoflop.law.prior import MEASURED_VOCABULARY, Prior
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters
from isoflop.plan.sweep import Sweep, jobs_of
from isoflop.plan.vocabulary import choose, floor_rise
from isoflop.sweep_verbs import points_of, run_alone
from isoflop.text.demo import demo_files
from isoflop.text.ngrams import sample_blocks, trigram_nats
from isoflop.text.prepare import load, open_documents, open_split, prepare
from isoflop.text.vocabulary import Cut, entropy_of

CONTEXT = 256
SHARES = (0.25, 0.5, 1.0)
BUDGETS = (1e13, 1e14, 1e15, 1e16, 1e18)
NUM_VAL_TOKENS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=[*CORPORA, *STRANGERS])
    parser.add_argument("--sizes", nargs="+", type=int, default=[2048, MEASURED_VOCABULARY, 8192])
    parser.add_argument("--widths", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--bytes", type=float, default=4e6, help="Of the longest runs.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    texts = (CORPORA | STRANGERS)[arguments.corpus] or demo_files()
    rows, cuts, counted, num_bytes = [], {}, [], 0
    for size in arguments.sizes:
        folder = arguments.out / arguments.corpus / str(size)
        if not (folder / "manifest.json").exists():
            prepare(texts, folder, vocab_size=size)
        manifest = load(folder)
        cuts[size], num_bytes = cut_of(folder, manifest), manifest.train.num_bytes
        own = points(folder, manifest, arguments.widths, arguments.bytes * cuts[size].tokens_per_byte)
        counted.append(beside_trigrams(folder, manifest, own))
        rows += own
    rises = [rise(cut, cuts[MEASURED_VOCABULARY], rows) for cut in cuts.values()]
    at_least = [cut for size, cut in sorted(cuts.items()) if size >= MEASURED_VOCABULARY]
    chosen = [{"flops": flops} | vars(choose(at_least, flops=flops, num_bytes=num_bytes)) for flops in BUDGETS]
    for told in (*rises, *counted, *chosen):
        tell(told)
    found = {"corpus": arguments.corpus, "rows": rows, "rises": rises, "counted": counted, "chosen": chosen}
    save(arguments.out / f"{arguments.corpus}.json", stamp() | found)


def cut_of(folder: Path, manifest: CorpusManifest) -> Cut:
    """The training text in its tokens."""
    counts = token_counts(open_split(folder, manifest.train), manifest.vocab_size)
    tokens_per_byte = manifest.train.num_tokens / manifest.train.num_bytes
    return Cut(manifest.vocab_size, tokens_per_byte, entropy_of(counts))


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
            "params": count_parameters(ModelConfig(**job.model)).matmul,
            "tokens": point.tokens,
            "unique": manifest.train.num_tokens,
            "loss": point.loss,
            "bits_per_byte": point.bits_per_byte,
        }
        for job in jobs
        for point in points_of(job)
    ]
    for row in rows:
        tell(row)
    return rows


def beside_trigrams(folder: Path, manifest: CorpusManifest, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Log of the loss of the longest runs over that of the shortest, over the same of trigrams; by width."""
    train, val = open_split(folder, manifest.train), open_split(folder, manifest.val)[0]
    places, _ = scored_positions(open_documents(folder, manifest.val), context=CONTEXT, max_tokens=NUM_VAL_TOKENS)
    ends = min(row["tokens"] for row in rows), max(row["tokens"] for row in rows)
    few, many = (
        trigram_nats(sample_blocks(train, count), val, places, vocab_size=manifest.vocab_size).mean() for count in ends
    )
    result: dict[str, float] = {"vocabulary": manifest.vocab_size}
    for width in sorted({row["width"] for row in rows}):
        first, last = (row["loss"] for end in ends for row in rows if (row["width"], row["tokens"]) == (width, end))
        result[f"width_{width}"] = math.log(last / first) / math.log(many / few)
    return result


def rise(cut: Cut, measured: Cut, rows: list[dict[str, Any]]) -> dict[str, float]:
    """What A0 and B0 rise by over the ``measured`` cut, so that the prior meets the cut's points on average.

    Itself told as 0, its points' own distance from the prior taken off the others'.
    """
    floor, away = floor_rise(cut, measured), log_ratios(measured, rows, (0.0, 0.0)).mean()
    low, high = -1.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if log_ratios(cut, rows, (floor, middle)).mean() > away else (low, middle)
    efolds = math.log(cut.vocab_size / measured.vocab_size)
    spread = float(log_ratios(cut, rows, (floor, low)).std())
    per_efold = low / efolds if efolds else 0.0
    return {"vocabulary": cut.vocab_size, "floor": floor, "reducible": low, "per_efold": per_efold, "sd_left": spread}


def log_ratios(cut: Cut, rows: list[dict[str, Any]], added: tuple[float, float]) -> np.ndarray:
    """Measured over expected, of the points of that vocabulary."""
    own = [row for row in rows if row["vocabulary"] == cut.vocab_size]
    places = {PARAMS: "params", TOKENS: "tokens", UNIQUE: "unique"}
    at = {name: np.array([float(row[key]) for row in own]) for name, key in places.items()}
    return np.log(np.array([row["loss"] for row in own]) / Prior.measured(cut.unigram_nats, rises=added).losses(at))


if __name__ == "__main__":
    main()
