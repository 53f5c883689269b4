"""The fitted floor against a known one: a study of text from a Markov chain whose entropy rate is exact.

    python benchmarks/known_entropy.py --budget 20min --out DIR

The bar: the true rate lies in the 90 % interval of the law's E. Takes the budget.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from corpora import run_texts, save, stamp
from isoflop.report.terminal import facts
from isoflop.study import Study
from isoflop.text.entropy import WORDS_PER_DOCUMENT, MarkovText


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="20min")
    parser.add_argument("--megabytes", type=float, default=64.0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    language, texts, folder = MarkovText(), arguments.out / "texts.jsonl", arguments.out / "study"
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not texts.exists():
        write(language, texts, arguments.megabytes * 1e6)
    finished = (folder / "report.html").exists()
    done = facts(folder) if finished else run_texts([texts], budget=arguments.budget, out=folder)
    law, bits_per_nat = Study(folder).law, Study(folder).manifest.val.bits_per_nat
    low, high = np.quantile([draw[0] for draw in law.draws], [0.05, 0.95]) * bits_per_nat
    save(
        arguments.out / "known_entropy.json",
        stamp()
        | {
            "true_bits_per_byte": language.bits_per_byte,
            "floor": law.parameters["E"] * bits_per_nat,
            "low": float(low),
            "high": float(high),
            "inside": bool(low <= language.bits_per_byte <= high),
            "test_bits_per_byte": done["test_bits_per_byte"],
        },
    )


def write(language: MarkovText, path: Path, num_bytes: float) -> None:
    """About so many bytes of documents, one JSON object a line."""
    num_documents = round(num_bytes / language.bytes_per_word / WORDS_PER_DOCUMENT)
    lines = (json.dumps({"text": document}) for document in language.documents(num_documents))
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
