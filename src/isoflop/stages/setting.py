"""What several stages need to know of a study: context, shapes, pilots' setting, and the closing stages' price."""

from __future__ import annotations

from isoflop.machine.throughput import fit_throughput
from isoflop.plan.pilots import Setting
from isoflop.plan.rules import context_for
from isoflop.plan.shapes import ladder
from isoflop.stages.machine import best_flops_per_second
from isoflop.study import Study


def setting_of(study: Study, *, num_workers: int = 1) -> Setting:
    machine, manifest = study.machine, study.manifest
    context = _context(study)
    return Setting(
        machine=machine,
        throughput=fit_throughput(machine),
        shapes=ladder(manifest.vocab_size, context),
        context=context,
        unique_tokens=manifest.train.num_tokens,
        num_workers=num_workers,
        num_val_tokens=max(30_000, int(300 * study.budget_seconds)),
        seed=study.given.seed,
        study=study.folder,
    )


def _context(study: Study) -> int:
    return context_for(best_flops_per_second(study.machine) * study.budget_seconds)


def closing_seconds(study: Study) -> float:
    """Expected seconds of evaluation, export and report (measured: docs/log.md)."""
    split = study.manifest.test
    shape = study.machine.timings[-1]
    tokens_per_second = 2.5 * shape.batch_tokens / shape.seconds
    return 5.0 + split.num_tokens / tokens_per_second + split.num_bytes / 1.5e6
