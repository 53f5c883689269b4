"""What several stages need to know of a study: context, shapes, pilots' setting, and the closing stages' price."""

from __future__ import annotations

from isoflop.machine.throughput import Throughput, fit_throughput
from isoflop.model.config import ModelConfig
from isoflop.plan.pilots import Setting
from isoflop.plan.rules import context_for
from isoflop.plan.shapes import ladder
from isoflop.stages.machine import best_flops_per_second
from isoflop.study import Study

CLOSING_SECONDS = 2.6
"""Samples, export, report and the end of the process (docs/log.md)."""
XZ_BYTES_PER_SECOND = 1.5e6
SCORING_TOKENS = 8192
"""Of a forward pass over the test documents, so about what the update of a step does not count beside."""


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


def closing_seconds(study: Study, *, tokens_per_second: float) -> float:
    """Expected seconds of evaluation, export and report for a model that one process trains at ``tokens_per_second``;
    and of starting several, where they train together.

    A forward pass takes some 0.4 of a training step.
    """
    starting = float(study.decided("ranks_start_seconds") or 0.0)
    test = study.manifest.test
    return (
        CLOSING_SECONDS + starting + test.num_tokens / (2.5 * tokens_per_second) + test.num_bytes / XZ_BYTES_PER_SECOND
    )


def closing_of(study: Study, throughput: Throughput, config: ModelConfig) -> float:
    """The same before anything of this shape was timed."""
    rate = SCORING_TOKENS / throughput.step_seconds(config, batch_tokens=SCORING_TOKENS)
    return closing_seconds(study, tokens_per_second=rate)
