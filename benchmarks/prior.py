"""What the law's prior is made of: a small grid of sizes and token counts on one corpus, and the law that fits it.

    python benchmarks/prior.py novels --out /tmp/prior/novels

Trains widths 32, 64 and 128 to 0.25-4 M tokens (two trunks each, so that batch and rate suit the horizon), fits
with the published prior and with almost none, and prints both. About 5 minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

from corpora import CORPORA, STRANGERS, save, stamp
from isoflop.core.journal import read_records
from isoflop.core.products import LawPoint
from isoflop.core.records import PilotFinished
from isoflop.law.pilots import fit_pilots
from isoflop.law.prior import Prior
from isoflop.plan.rules import recipe_for
from isoflop.plan.shapes import shape
from isoflop.text.prepare import load
from isoflop.train.pilot import PilotJob, run_pilot
from isoflop.train.workers import Workers
from runs import CONTEXT, NUM_VAL_TOKENS, prepared

HORIZONS = (1e6, 4e6)
SHARES = (0.25, 0.5, 1.0)
NOISE_NATS = 0.012


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=[*CORPORA, *STRANGERS])
    parser.add_argument("--widths", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    prepared(arguments.corpus, arguments.out)
    jobs = [job(width, tokens, arguments.out) for tokens in HORIZONS[::-1] for width in arguments.widths[::-1]]
    with Workers(sorted(os.sched_getaffinity(0))) as workers:
        for future in [workers.submit(run_pilot, each) for each in jobs]:
            future.result()
    points = read_points(arguments.out)
    laws = {"published": fit_pilots(points), "flat": fit_pilots(points, prior=Prior.flat(min(p.loss for p in points)))}
    results = {
        name: {
            "parameters": law.report().parameters,
            "standard_errors": law.report().standard_errors,
            "residual_sd": law.report().residual_sd,
            "heldout_error": law.report().heldout_error,
        }
        for name, law in laws.items()
    }
    table = [dataclasses.asdict(point) for point in points]
    save(arguments.out / "prior.json", stamp() | {"corpus": arguments.corpus, "laws": results, "points": table})


def job(width: int, tokens: float, out: Path) -> PilotJob:
    """A trunk of one width to one horizon."""
    manifest = load(out / "corpus")
    config = shape(width, vocab_size=manifest.vocab_size, context=CONTEXT)
    recipe = recipe_for(
        tokens * SHARES[1],
        context=CONTEXT,
        unique_tokens=manifest.train.num_tokens,
        seed=0,
    )
    num_steps = int(tokens / recipe.batch_tokens)
    run = f"w{width}-{tokens:.0e}"
    return PilotJob(
        run=run,
        purpose="grid",
        model=dataclasses.asdict(config),
        recipe=dataclasses.replace(recipe, num_steps=num_steps),
        branch_steps=[round(num_steps * share) for share in SHARES],
        seconds=1e9,
        dtype="bfloat16",
        num_val_tokens=NUM_VAL_TOKENS,
        corpus=out / "corpus",
        folder=out / "pilots" / run,
        records=out / "records.jsonl",
    )


def read_points(out: Path) -> list[LawPoint]:
    """The finished pilots of a study folder as points of the law."""
    finished = [s.record for s in read_records(out / "records.jsonl") if isinstance(s.record, PilotFinished)]
    return [LawPoint(p.run, p.num_parameters, p.tokens, p.unique_tokens, p.flops, p.loss, NOISE_NATS) for p in finished]


if __name__ == "__main__":
    main()
