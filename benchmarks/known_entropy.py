"""The fitted floor against a known one: a study of text from a Markov chain whose entropy rate is exact.

    python benchmarks/known_entropy.py --budget 20min --out DIR

The bar: the true rate lies in the 90 % interval of the law's E. Beside it stands that of the same pilots without the
prior that was drawn through natural texts. Takes the budget; a finished study in --out is not repeated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from corpora import run_texts, save, stamp
from isoflop.core.products import LawReport
from isoflop.law.pilots import fit_pilots
from isoflop.law.prior import Prior
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
    lowest = min(point.loss for point in law.points)
    alone = fit_pilots(law.points, prior=Prior.flat(lowest)).report()
    low, high = _interval(law, bits_per_nat)
    low_alone, high_alone = _interval(alone, bits_per_nat)
    save(
        arguments.out / "known_entropy.json",
        stamp()
        | {
            "true_bits_per_byte": language.bits_per_byte,
            "floor": law.parameters["E"] * bits_per_nat,
            "low": low,
            "high": high,
            "inside": low <= language.bits_per_byte <= high,
            "residual_sd": law.residual_sd,
            "floor_by_pilots_alone": alone.parameters["E"] * bits_per_nat,
            "low_alone": low_alone,
            "high_alone": high_alone,
            "inside_alone": low_alone <= language.bits_per_byte <= high_alone,
            "residual_sd_alone": alone.residual_sd,
            "predicted_bits_per_byte": done["predicted_bits_per_byte"],
            "test_bits_per_byte": done["test_bits_per_byte"],
        },
    )


def _interval(law: LawReport, bits_per_nat: float) -> tuple[float, float]:
    """90 % of E, bits per byte."""
    low, high = np.quantile([draw[0] for draw in law.draws], [0.05, 0.95])
    return float(low) * bits_per_nat, float(high) * bits_per_nat


def write(language: MarkovText, path: Path, num_bytes: float) -> None:
    """About so many bytes of documents, one JSON object a line."""
    num_documents = round(num_bytes / language.bytes_per_word / WORDS_PER_DOCUMENT)
    lines = (json.dumps({"text": document}) for document in language.documents(num_documents))
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
