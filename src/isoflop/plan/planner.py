"""From machine, law and budget to the plan: the shape whose predicted loss is least in the time there is."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from isoflop.core.errors import BudgetError
from isoflop.core.products import (
    Candidate,
    CorpusManifest,
    Forecast,
    Interval,
    Machine,
    Method,
    Plan,
    Recipe,
    StudyWarning,
    WhatIf,
)
from isoflop.law.copying import Copying
from isoflop.law.predict import Law
from isoflop.machine.power import joules
from isoflop.machine.throughput import Throughput
from isoflop.model.config import ModelConfig
from isoflop.model.count import Dtype, count_parameters, flops_per_token
from isoflop.plan import memory
from isoflop.plan.guess import LEAST_SEQUENCES, tokens_in
from isoflop.plan.rules import recipe_for

Z90 = 1.645
BUSY_SHARES = (0.75, 0.9, 1.0)
"""Low, usual and high share of the cores' time that a study keeps busy (docs/log.md)."""
SHARE_STEP = 0.5**0.5
"""Ratio of the training times tried where text repeats: more epochs of it can do harm (R_N*)."""
MAX_MEMORISED = 10.0
"""Matmul parameters a distinct token times epochs beyond which a model learns its text by heart (docs/log.md, 14)."""
COPYING_TOLD = 0.02
"""Share of the loss that copying may take off before it is told."""
SPEED_SD = 0.07
"""Relative spread of a run's mean speed about what its calibration measured: two of three shared machines changed
between two speeds 15 % apart every minute or two (docs/log.md, 12)."""
TIME_SD = 0.01
"""Relative spread of the whole budgeted time: the run lands by the clock, only what follows it varies."""


@dataclass(frozen=True)
class Question:
    """What the plan is made of."""

    machine: Machine
    throughput: Throughput
    law: Law
    manifest: CorpusManifest
    shapes: tuple[ModelConfig, ...]
    context: int
    seed: int
    method: Method
    copying: Copying
    heldout_sd: float
    """Relative spread of what ``heldout_ratio`` cannot tell."""
    heldout_ratio: float
    """Expected bits per byte of the test documents over those of the validation documents."""
    dollars_per_hour: float | None
    grams_co2e_per_kwh: float | None
    process_bytes: int
    """Memory that training will need beside its tensors."""
    ranks: int = 1
    """Processes that train together."""
    may_share: bool = False
    """Whether these may hold shares of a model instead of all of it each."""

    @property
    def num_sharing(self) -> int:
        """Processes that share the memory of one device."""
        return self.ranks // self.machine.num_devices(self.ranks)

    @property
    def room(self) -> memory.Room:
        dtype: Dtype = self.machine.dtype  # type: ignore[assignment]
        return memory.Room(
            machine_bytes=self.machine.memory_bytes // self.num_sharing,
            process_bytes=self.process_bytes,
            context=self.context,
            dtype=dtype,
            method=self.method,
            ranks=self.ranks,
            may_share=self.may_share,
            copies=memory.NUM_COPIES / self.ranks if self.machine.device == "cpu" else 0.0,
        )


@dataclass(frozen=True)
class Trunk:
    """A pilot's undecayed run of the chosen shape, from which training goes on."""

    run: str
    tokens: int
    """It was trained on."""


@dataclass(frozen=True)
class Choice:
    """One shape with what a training time buys at it."""

    config: ModelConfig
    tokens: float
    loss: float
    """The law's most probable one, nats per token; without copying, whose forecast rests on too little to choose by."""
    candidate: Candidate
    share_of_time: float = 1.0
    """Of the time there is; below 1 where more epochs of the same text would do harm."""


def consider(question: Question, *, seconds: float, speedup: float) -> list[Choice]:
    """Every shape of the ladder that the time allows `LEAST_SEQUENCES`, in order of size."""
    choices = []
    for config in question.shapes:
        choice = weigh(question, config, seconds=seconds, speedup=speedup)
        if choice.tokens < LEAST_SEQUENCES * question.context:
            break  # larger ones get fewer still
        choices.append(_shortened(question, choice, seconds=seconds, speedup=speedup))
    if not choices:
        raise _too_short(seconds)
    return choices


def _shortened(question: Question, choice: Choice, *, seconds: float, speedup: float) -> Choice:
    """``choice``, or the part of its training after which its text's further epochs would do harm."""

    def trained_for(share: float) -> Choice:
        shorter = weigh(question, choice.config, seconds=share * seconds, speedup=speedup)
        return dataclasses.replace(shorter, share_of_time=share)

    bearable = _bearable_tokens(choice.candidate.num_parameters.matmul, question.manifest.train.num_tokens)
    longest = choice
    for _ in range(8 if choice.tokens > bearable else 0):  # fewer tokens, a smaller batch, a lower speed: settle it
        longest = trained_for(longest.share_of_time * bearable / longest.tokens)
    options = [longest]
    while options[-1].candidate.epochs > 1:
        options.append(trained_for(options[-1].share_of_time * SHARE_STEP))
    return min(options, key=lambda option: option.loss)


def _bearable_tokens(num_parameters: int, unique_tokens: int) -> float:
    """How long a model may train on a text before it learns it by heart, of which the law knows nothing."""
    return max(unique_tokens, MAX_MEMORISED * unique_tokens**2 / num_parameters)


def _too_short(seconds: float) -> BudgetError:
    what = f"what came before left {max(seconds, 0.0):.0f} s for training, too little for the smallest model"
    return BudgetError(what, remedy="Start a new study with a larger budget")


def best(choices: list[Choice]) -> Choice:
    """The least loss among shapes that fit in memory."""
    fitting = [choice for choice in choices if choice.candidate.fits_memory]
    if not fitting:
        raise BudgetError("no model fits in this machine's memory", remedy="Use a machine with more memory")
    return min(fitting, key=lambda choice: choice.loss)


def weigh(question: Question, config: ModelConfig, *, seconds: float, speedup: float) -> Choice:
    """What ``seconds`` of training at ``speedup`` times the eager speed buy at one shape."""
    tokens = tokens_in(question.throughput, config, context=question.context, seconds=seconds, speedup=speedup)
    counts = count_parameters(config)
    unique = question.manifest.train.num_tokens
    loss = float(question.law.loss(counts.matmul, tokens, unique))
    candidate = Candidate(
        num_parameters=counts,
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        tokens=tokens,
        epochs=tokens / unique,
        bits_per_byte=forecast_bits(question, config, tokens),
        fits_memory=memory.fits(question.room, config, tokens),
    )
    return Choice(config, tokens, loss, candidate)


def forecast_loss(question: Question, config: ModelConfig, tokens: float) -> Interval:
    """90 % interval of the validation loss, nats per token."""
    size, unique = count_parameters(config).matmul, question.manifest.train.num_tokens
    law = question.law.predict(size, tokens, unique).interval()
    copied = question.copying.factor(tokens)
    at_speeds = question.law.loss(size, tokens * np.exp([Z90 * SPEED_SD, 0.0, -Z90 * SPEED_SD]), unique)
    paced = Interval(law.central, float(at_speeds.min()), float(at_speeds.max()))
    return _product(law.central * copied.central, law, copied, paced)


def forecast_bits(question: Question, config: ModelConfig, tokens: float) -> Interval:
    """90 % interval of the test bits per byte: the loss's, widened by how much held-out documents differ."""
    loss = forecast_loss(question, config, tokens)
    spread = math.exp(Z90 * question.heldout_sd)
    heldout = Interval(1.0, 1 / spread, spread)
    return _product(loss.central * question.manifest.val.bits_per_nat * question.heldout_ratio, loss, heldout)


def _product(central: float, *factors: Interval) -> Interval:
    """About ``central``, with the relative spreads of independent factors, each side in quadrature."""
    low = math.hypot(*(math.log(factor.central / factor.low) for factor in factors))
    high = math.hypot(*(math.log(factor.high / factor.central) for factor in factors))
    return Interval(central, central * math.exp(-low), central * math.exp(high))


def recipe_of(question: Question, choice: Choice) -> Recipe:
    """The recipe of the tokens expected when the shape was chosen; kept, and with it what was compiled for its batch,
    whatever the shape's measured speed makes of its steps."""
    recipe = recipe_for(
        choice.tokens,
        context=question.context,
        unique_tokens=question.manifest.train.num_tokens,
        seed=question.seed,
        method=question.method,
        ranks=question.ranks,
    )
    way = memory.passage(question.room, choice.config, choice.tokens)
    return dataclasses.replace(recipe, micro_batches=way.parts, recompute=way.recompute)


def is_sharded(question: Question, choice: Choice) -> bool:
    """Whether the processes that train it will have to share the model, so large is it."""
    return memory.passage(question.room, choice.config, choice.tokens).sharded


def make_plan(
    question: Question,
    choice: Choice,
    choices: list[Choice],
    *,
    budget_seconds: float,
    training_seconds: float,
    tokens_per_second: float,
    compiled: bool,
    num_threads: int,
    trunk: Trunk | None,
    what_if: list[WhatIf],
    warnings: list[StudyWarning],
) -> Plan:
    """The plan of a chosen shape at its measured speed."""
    unique = question.manifest.train.num_tokens
    trunk_tokens = trunk.tokens if trunk else 0
    counts = count_parameters(choice.config)
    harmless = choice.tokens if choice.share_of_time < 1 else _bearable_tokens(counts.matmul, unique)
    enough = max(harmless - trunk_tokens, question.context) / tokens_per_second  # at the speed that was measured
    unused_seconds = max(0.0, training_seconds - enough)
    training_seconds = min(training_seconds, enough)
    tokens = tokens_per_second * training_seconds
    if tokens < question.context:
        raise _too_short(training_seconds)
    recipe = recipe_of(question, choice)
    recipe = dataclasses.replace(recipe, num_steps=max(1, int(tokens / recipe.batch_tokens)))
    tokens = float(recipe.num_steps * recipe.batch_tokens + trunk_tokens)
    return Plan(
        model=dataclasses.asdict(choice.config),
        num_parameters=counts,
        recipe=recipe,
        tokens=int(tokens),
        epochs=tokens / unique,
        dtype=question.machine.dtype,
        compiled=compiled,
        num_threads=num_threads,
        continues=trunk.run if trunk else None,
        training_seconds=training_seconds,
        tokens_per_second=tokens_per_second,
        flops=tokens * flops_per_token(choice.config, context=question.context),
        memory_bytes=memory.needed(question.room, choice.config, choice.tokens) * question.num_sharing,
        sharded=is_sharded(question, choice),
        forecast=_forecast(question, choice.config, tokens, budget_seconds - unused_seconds),
        candidates=[other.candidate for other in choices],
        what_if=what_if,
        warnings=[
            *warnings,
            *question.law.warnings_for(counts.matmul, tokens, unique),
            *unused_time(unused_seconds / (training_seconds + unused_seconds), tokens / unique),
            *copying_expected(question.copying, tokens),
        ],
    )


def unused_time(share: float, epochs: float) -> list[StudyWarning]:
    """What to say of a plan that leaves some of its time unused."""
    if share == 0:
        return []
    message = (
        f"{share:.0%} of the training time is not used: after {epochs:.1f} epochs "
        "more of the same text would do harm; more text would help, more time would not"
    )
    return [StudyWarning("time_unused", message)]


def copying_expected(copying: Copying, tokens: float) -> list[StudyWarning]:
    """What to say where the forecast counts on what no pilot shows."""
    factor = copying.factor(tokens)
    if factor.low > 1 - COPYING_TOLD:
        return []
    message = (
        f"this text repeats itself within the context, and models learn to copy abruptly, after the pilots' end: the "
        f"forecast counts on {1 - factor.central:.1%} of the loss for it, {1 - factor.high:.1%} to {1 - factor.low:.1%}"
    )
    return [StudyWarning("copying_expected", message)]


def _forecast(question: Question, config: ModelConfig, tokens: float, budget_seconds: float) -> Forecast:
    machine = question.machine
    seconds = Interval(budget_seconds, budget_seconds * (1 - Z90 * TIME_SD), budget_seconds * (1 + Z90 * TIME_SD))
    energy = forecast_joules(machine, budget_seconds)
    grams, price = question.grams_co2e_per_kwh, question.dollars_per_hour
    return Forecast(
        bits_per_byte=forecast_bits(question, config, tokens),
        loss=forecast_loss(question, config, tokens),
        seconds=seconds,
        joules=energy,
        dollars=None if price is None else seconds.scaled(price / 3600),
        grams_co2e=None if grams is None else energy.scaled(grams / 3.6e6),
    )


def forecast_joules(machine: Machine, seconds: float) -> Interval:
    """Energy of ``seconds`` of a study: watts and the share of busy cores are both uncertain, and both are in it."""
    idle, usual, busy = (
        joules(
            machine.power,
            busy_core_seconds=seconds * machine.num_cores * share,
            wall_seconds=seconds,
            num_cores=machine.num_cores,
        )
        for share in BUSY_SHARES
    )
    cores = Interval(usual.central, idle.low, busy.high)
    gpu = machine.power.gpu_watts
    return cores.plus(gpu.scaled(seconds) if gpu else None)


def what_if(question: Question, *, budget_seconds: float, training_seconds: float, speedup: float) -> list[WhatIf]:
    """What 1, 2 and 10 times the budget would buy, the part of it that trains growing in proportion."""
    answers = []
    for factor in (1.0, 2.0, 10.0):
        winner = best(consider(question, seconds=training_seconds * factor, speedup=speedup))
        answers.append(
            WhatIf(
                budget_seconds=budget_seconds * factor,
                num_parameters=winner.candidate.num_parameters.matmul,
                tokens=winner.tokens,
                epochs=winner.candidate.epochs,
                bits_per_byte=winner.candidate.bits_per_byte,
            )
        )
    return answers
