"""What the law as it stands would have forecast for studies that are finished: their pilots fitted anew.

    python benchmarks/refit.py STUDY [STUDY ...] --out /tmp/refit

Of every study the forecast of its test bits per byte at the tokens it trained on, whether what was measured lies within
the interval, and the size that would be chosen now. A second a study: for comparing priors before hours are spent on
``benchmarks/forecast.py``, which alone shows what a person gets.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from corpora import save, stamp, tell
from isoflop.model.config import ModelConfig
from isoflop.plan.planner import best, consider, forecast_bits
from isoflop.report.terminal import facts
from isoflop.stages.law import count_trigrams, finished_pilots, law_of
from isoflop.stages.plan import measured_speedup, question_of
from isoflop.study import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path, help="finished studies")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [row(path) for path in arguments.studies]
    errors = np.array([each["error"] for each in rows])
    told = {"rms": float(np.sqrt((errors**2).mean())), "largest": float(np.abs(errors).max())}
    told["inside"] = sum(each["inside"] for each in rows)
    print(told)
    save(arguments.out / "refit.json", stamp() | told | {"rows": rows})


def row(path: Path) -> dict[str, Any]:
    """One study: predicted over measured bits per byte, less 1."""
    study = Study(path)
    law = law_of(study, finished_pilots(study), drop=count_trigrams(study).drop)
    question, plan, told = dataclasses.replace(question_of(study), law=law), study.plan, facts(path)
    found = forecast_bits(question, ModelConfig(**plan.model), told["tokens"])
    measured = float(told["test_bits_per_byte"])
    choices = consider(question, seconds=plan.training_seconds, speedup=measured_speedup(study))
    result = {
        "study": str(path),
        "predicted": found.central,
        "low": found.low,
        "high": found.high,
        "measured": measured,
        "error": found.central / measured - 1,
        "inside": found.low <= measured <= found.high,
        "matmul_parameters": plan.num_parameters.matmul,
        "would_choose": best(choices).candidate.num_parameters.matmul,
    }
    tell(result)
    return result


if __name__ == "__main__":
    main()
