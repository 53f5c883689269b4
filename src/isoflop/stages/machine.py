"""This machine to machine.json, and the budget to seconds."""

from __future__ import annotations

from dataclasses import replace

import torch

from isoflop.core.budget import Budget, Rates
from isoflop.core.products import Machine, Power, StudyWarning
from isoflop.core.session import Session
from isoflop.machine.limits import usable_cores
from isoflop.machine.measure import matmul_peak, measure, pick_device, timing_recipe
from isoflop.machine.power import detect_power, joules
from isoflop.machine.throughput import fit_throughput, shape_of
from isoflop.model.config import ModelConfig
from isoflop.model.count import flops_per_token
from isoflop.plan.rules import context_for
from isoflop.plan.shapes import ladder
from isoflop.stages.division import closing_of, least_training, require_budget, require_time
from isoflop.study import Given, Study
from isoflop.train.together import time_together
from isoflop.train.workers import Workers

MEASURE_SHARE, MIN_MEASURE_SECONDS, MAX_MEASURE_SECONDS = 0.01, 3.0, 30.0
DEFAULT_MEASURE_SECONDS = 8.0
"""Where the budget in seconds is not known before the machine is."""
USUAL_SHARE_OF_PEAK, USUAL_SHARE_OF_BUDGET = 0.4, 0.85
"""Of matrix products' speed that training keeps, and of a budget that goes to it: enough to choose a vocabulary by."""


def measure_machine(study: Study, session: Session, workers: Workers | None) -> None:
    """This machine to machine.json, and the budget to seconds."""
    budget = Budget.parse(study.given.budget)
    share = MEASURE_SHARE * session.seconds_left() if budget.unit == "s" else DEFAULT_MEASURE_SECONDS
    seconds = min(MAX_MEASURE_SECONDS, max(MIN_MEASURE_SECONDS, share))
    context = context_for(1e12)
    shapes = _timing_shapes(study.manifest.vocab_size, context)
    with session.ledger.activity("measure", "start"):
        if workers is not None:
            workers.wait_ready()  # while they load torch they would share the cores that are measured
    with session.ledger.activity("measure", "productive"):
        machine = measure(shapes, seconds=seconds, side_by_side=workers.side_by_side if workers else None)
        if study.given.ranks > 1:
            machine = _with_ranks(study, machine, seconds=seconds / len(machine.timings))
    for warning in [*machine.warnings, *_idle(study.given.ranks)]:
        session.warn("measure", warning)
    study.decide("dtype", machine.dtype, rule="the faster of float32 and bfloat16 in real training steps")
    study.decide("num_threads", machine.num_cores, rule="the cores this process may use (affinity and cgroup)")
    _convert_budget(study, machine)
    if budget.unit != "s":
        session.progress.note(f"the budget in time: {study.given.budget_conversion}")
    throughput = fit_throughput(machine)
    require_time(
        budget=study.budget_seconds,
        spent=study.budget_seconds - session.seconds_left(),
        closing=closing_of(study, throughput, shapes[0]),
        least=least_training(throughput, shapes[0], context=context),
    )
    study.write("machine.json", machine)  # last: with it the stage is done


def _with_ranks(study: Study, machine: Machine, *, seconds: float) -> Machine:
    """With a step that the study's processes take together, each on as much as the largest step that was timed, and the
    watts of all their GPUs (of which the pilots and the evaluation use one: what is forecast is too much then)."""
    ranks, last = study.given.ranks, machine.timings[-1]
    config = shape_of(last)
    recipe = timing_recipe(config, ranks * last.batch_tokens)
    timing, overhead = time_together(config, recipe, dtype=machine.dtype, seconds=seconds, size=ranks)
    study.decide("ranks_start_seconds", overhead, rule="what starting the processes that train together took")
    watts = machine.power.gpu_watts
    power = replace(machine.power, gpu_watts=watts.scaled(ranks) if watts else None)
    return replace(machine, timings=[*machine.timings, timing], power=power)


def _idle(ranks: int) -> list[StudyWarning]:
    count = torch.cuda.device_count()
    if count <= ranks:
        return []
    return [StudyWarning("gpus_idle", f"{count} GPUs are here and {ranks} will train: isoflop run --ranks {count}")]


def _timing_shapes(vocab_size: int, context: int) -> list[ModelConfig]:
    shapes = ladder(vocab_size, context)
    large = 5 if not torch.cuda.is_available() else 15
    return [shapes[0], shapes[2], shapes[large]]


def rates_of(machine: Machine, given: Given) -> Rates:
    """What this machine does and costs a second while it trains at its best measured speed."""
    fastest = best_flops_per_second(machine)
    watts = _watts(machine.power, machine.num_cores)
    return Rates(fastest, watts, given.price_per_hour, given.grams_co2e_per_kwh)


def _watts(power: Power, num_cores: int) -> float:
    """Of so many cores and the GPU, all at work."""
    cores = joules(power, busy_core_seconds=num_cores, wall_seconds=1.0, num_cores=num_cores)
    return cores.plus(power.gpu_watts).central


def expected_flops(
    budget: str, *, price_per_hour: float | None = None, grams_co2e_per_kwh: float | None = None
) -> float:
    """What a budget will train with here, before anything was timed but a product of matrices."""
    peak = max(matmul_peak(dtype, pick_device(), seconds=0.1) for dtype in ("float32", "bfloat16"))
    watts = _watts(detect_power(), usable_cores())
    rates = Rates(USUAL_SHARE_OF_PEAK * peak, watts, price_per_hour, grams_co2e_per_kwh)
    return USUAL_SHARE_OF_BUDGET * rates.flops_per_second * Budget.parse(budget).to_seconds(rates).seconds


def _convert_budget(study: Study, machine: Machine) -> None:
    given = study.given
    conversion = Budget.parse(given.budget).to_seconds(rates_of(machine, given))
    require_budget(conversion.seconds)
    study.convert(conversion.seconds, conversion.explanation)


def best_flops_per_second(machine: Machine) -> float:
    """The best training speed among the measured steps, in the model's own FLOPs."""
    return max(
        timing.batch_tokens * flops_per_token(shape_of(timing), context=timing.context) / timing.seconds
        for timing in machine.timings
    )
