"""A run on a cluster before anybody rents it: how it would be divided, and what it would take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isoflop.core.errors import BudgetError
from isoflop.core.products import Interval
from isoflop.estimate.bill import EMBODIED_GRAMS, LEVEL, Energy, energy_of, product
from isoflop.estimate.devices import Device
from isoflop.estimate.goodput import Faults, Goodput, goodput, mean_seconds_between, what_if
from isoflop.estimate.memory import OPTIMIZER_BYTES
from isoflop.estimate.parallel import Training
from isoflop.estimate.search import MAX_DEVICES, Layout, best_layout, fastest
from isoflop.estimate.speed import SPREAD
from isoflop.model.count import count_parameters, flops_per_token

RESTART_SECONDS = 600.0
"""From a failure until work goes on, where nobody says: with it and saves of 10 s Llama 3's cluster is productive for
91 % of its time; its authors say more than 90 (tests/estimate/test_goodput.py)."""
SAVE_BYTES_PER_SECOND = 1e9
"""A device, into its host's memory, from where it is written while the run goes on (an assumption)."""
SAVE_SECONDS = 2.0
"""Of any save, beside that."""
COUNTS = tuple(1 << power for power in range(MAX_DEVICES.bit_length()))
"""Numbers of devices that a search tries."""


@dataclass(frozen=True)
class Terms:
    """What a person knows of the place; None: what is usual."""

    grams_co2e_per_kwh: float
    """Of the grid where it stands."""
    market_grams_co2e_per_kwh: float | None = None
    """By contracts for electricity; None: nobody said."""
    dollars_per_hour: float | None = None
    spot: bool = False
    pue: float | None = None
    seconds_between_failures: float | None = None
    """Of the whole cluster, in the mean."""
    restart_seconds: float = RESTART_SECONDS

    def price_of(self, device: Device) -> float | None:
        """Dollars a device-hour."""
        if self.dollars_per_hour is not None:
            return self.dollars_per_hour
        return device.spot_dollars_per_hour if self.spot else device.dollars_per_hour


@dataclass(frozen=True)
class Estimate:
    """What a run would take; intervals of 90 %."""

    device: Device
    num_devices: int
    layout: Layout
    batch_tokens: int
    num_steps: int
    flops: float
    mfu: float
    """Model FLOPs over time and peak, while it works."""
    step_seconds: Interval
    goodput: Goodput
    num_interruptions: float
    remedies: dict[str, Goodput]
    hours: Interval
    device_hours: Interval
    dollars: Interval | None
    energy: Energy
    grams_co2e: Interval
    """Location-based."""
    market_grams_co2e: Interval | None
    embodied_grams_co2e: Interval
    """Its share of what making the machines took; in neither of the two."""


def estimate(training: Training, tokens: float, device: Device, num_devices: int, terms: Terms) -> Estimate:
    """One run. Raises `BudgetError` where it does not fit, or its tokens are less than a batch."""
    _require_a_batch(training, tokens)
    return _estimate(training, tokens, device, best_layout(training, device, num_devices), terms)


def _require_a_batch(training: Training, tokens: float) -> None:
    batch_tokens = training.batch * training.context
    if tokens < batch_tokens:
        what = f"{tokens:g} tokens are less than a batch of {batch_tokens:,}"
        raise BudgetError(what, where="--tokens", remedy="Give more, or a smaller --batch-tokens")


def _estimate(training: Training, tokens: float, device: Device, layout: Layout, terms: Terms) -> Estimate:
    batch_tokens, num_devices = training.batch * training.context, layout.division.num_devices
    num_steps = math.ceil(tokens / batch_tokens)
    faults = _faults(training, num_devices, terms)
    found = goodput(faults)
    step = Interval(layout.seconds, layout.seconds / SPREAD, layout.seconds * SPREAD, LEVEL)
    hours = step.scaled(num_steps / 3600 / found.productive)
    device_hours, price = hours.scaled(num_devices), terms.price_of(device)
    energy, market = energy_of(device_hours, device.watts, pue=terms.pue), terms.market_grams_co2e_per_kwh
    flops = flops_per_token(training.config, context=training.context) * num_steps * batch_tokens
    return Estimate(
        device=device,
        num_devices=num_devices,
        layout=layout,
        batch_tokens=batch_tokens,
        num_steps=num_steps,
        flops=flops,
        mfu=flops / num_steps / layout.seconds / (num_devices * device.bf16_flops),
        step_seconds=step,
        goodput=found,
        num_interruptions=3600 * hours.central / faults.seconds_between,
        remedies=what_if(faults),
        hours=hours,
        device_hours=device_hours,
        dollars=None if price is None else device_hours.scaled(price),
        energy=energy,
        grams_co2e=energy.grams_co2e(terms.grams_co2e_per_kwh),
        market_grams_co2e=None if market is None else energy.grams_co2e(market),
        embodied_grams_co2e=product(device_hours, EMBODIED_GRAMS),
    )


def _faults(training: Training, num_devices: int, terms: Terms) -> Faults:
    state = count_parameters(training.config).all * (4 + OPTIMIZER_BYTES[training.optimizer])
    save = SAVE_SECONDS + state / num_devices / SAVE_BYTES_PER_SECOND
    between = terms.seconds_between_failures or mean_seconds_between(num_devices)
    return Faults(between, terms.restart_seconds, save)


def affordable(
    training: Training,
    tokens: float,
    devices: list[Device],
    terms: Terms,
    *,
    hours: float = math.inf,
    dollars: float = math.inf,
    counts: Sequence[int] = COUNTS,
) -> list[Estimate]:
    """What is done in time and within the money by its central values: the cheapest of these ``counts`` of each device,
    those without a price in the fewest device-hours; the cheapest first.

    Raises `BudgetError` where nothing is, or the tokens are less than a batch.
    """
    _require_a_batch(training, tokens)
    found = []
    for device in devices:
        done = (each for each in _at(counts, training, tokens, device, terms) if _kept(each, hours, dollars))
        if (cheapest := min(done, key=_cost, default=None)) is not None:
            found.append(cheapest)
    if not found:
        what = "no number of devices that was tried keeps deadline and cost"
        raise BudgetError(what, remedy="Give more time or money, fewer --tokens, or another --device")
    return sorted(found, key=_cost)


def _cost(each: Estimate) -> tuple[bool, float]:
    """Dollars; behind them those of unknown price, by their device-hours."""
    return (True, each.device_hours.central) if each.dollars is None else (False, each.dollars.central)


def _kept(each: Estimate, hours: float, dollars: float) -> bool:
    cost = 0.0 if each.dollars is None else each.dollars.central
    return each.hours.central <= hours and cost <= dollars


def _at(counts: Sequence[int], training: Training, tokens: float, device: Device, terms: Terms) -> Iterator[Estimate]:
    """At each of these numbers of devices, as far as the model fits and the batch divides."""
    for count in counts:
        layout = fastest(training, device, count)
        if layout is not None:
            yield _estimate(training, tokens, device, layout, terms)
