"""What several stages need to know of a study: context, shapes, and pilots' setting."""

from __future__ import annotations

from isoflop.machine.throughput import fit_throughput
from isoflop.plan.pilots import Setting
from isoflop.plan.rules import context_for
from isoflop.plan.shapes import ladder
from isoflop.stages.machine import best_flops_per_second
from isoflop.study import Study


def setting_of(study: Study) -> Setting:
    """What all pilots of the study share; by what was measured, so that a resumed study designs the same ones."""
    machine, manifest = study.machine, study.manifest
    context = context_of(study)
    return Setting(
        machine=machine,
        throughput=fit_throughput(machine),
        shapes=ladder(manifest.vocab_size, context),
        context=context,
        unique_tokens=manifest.train.num_tokens,
        num_workers=machine.num_cores if machine.side_by_side_gain > 1 else 1,
        num_val_tokens=num_val_tokens(study),
        seed=study.given.seed,
        method=study.given.method,
        study=study.folder,
    )


def context_of(study: Study) -> int:
    """Tokens of a sequence in all of the study's runs."""
    return context_for(best_flops_per_second(study.machine) * study.budget_seconds)


def num_val_tokens(study: Study) -> int:
    """Validation tokens on which pilots are compared: what a pilot scores in some per cent of its time."""
    return max(30_000, int(300 * study.budget_seconds))
