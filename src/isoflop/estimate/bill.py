"""What a run takes of time, money, energy and carbon, each with an interval and where its numbers come from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from isoflop.core.products import Interval

LEVEL = 0.9
DRAW = Interval(0.85, 0.6, 1.0, LEVEL)
"""Of its thermal design power that a training device draws: published reckonings take all of it (LLaMA, Llama 3.1); of
Acme's A100 the median was far below, the 95th percentile at 1.02 (NSDI 2024)."""
NODE = Interval(1.5, 1.25, 1.8, LEVEL)
"""Watts of a node over those of its devices: Acme's GPUs drew two thirds of their servers' power; a DGX H100 is rated
at 10.2 kW for 5.6 of its GPUs."""
PUE = Interval(1.2, 1.05, 1.58, LEVEL)
"""Of the building, where nobody says: the best hyperscale ones, and the mean that Strubell et al. (2019) took."""
EMBODIED_GRAMS = Interval(10.35, 5.0, 21.0, LEVEL)
"""CO2e a device-hour that making the machines took: 2,500 kg a server of eight and 150 a GPU over six years used for
85 % of their hours. It reproduces the 11.2 t that Luccioni et al. (2022, arXiv 2211.02001) tell of BLOOM; its terms are
recalled, not read again, and its bounds, half and twice, are assumed."""


def product(*factors: Interval) -> Interval:
    """Of independent factors, their relative spreads in quadrature on either side."""
    central = math.prod(factor.central for factor in factors)
    low = math.hypot(*(math.log(factor.central / factor.low) for factor in factors))
    high = math.hypot(*(math.log(factor.high / factor.central) for factor in factors))
    return Interval(central, central * math.exp(-low), central * math.exp(high), factors[0].level)


def exactly(value: float) -> Interval:
    return Interval(value, value, value, LEVEL)


@dataclass(frozen=True)
class Energy:
    """Of devices, of the nodes around them, and of the building; kWh."""

    devices: Interval
    nodes: Interval
    building: Interval

    def grams_co2e(self, grams_per_kwh: float) -> Interval:
        """Location-based: what the building took, at the grid's factor."""
        return self.building.scaled(grams_per_kwh)


def energy_of(device_hours: Interval, watts: float, *, pue: float | None = None) -> Energy:
    """What devices of so many watts (thermal design power) take in so many hours."""
    devices = product(device_hours, DRAW, exactly(watts / 1000))
    nodes = product(devices, NODE)
    return Energy(devices, nodes, product(nodes, PUE if pue is None else exactly(pue)))


def published_kwh(device_hours: float, watts: float, pue: float) -> float:
    """As papers reckon it: hours times watts times the building's factor (Patterson et al. 2021, arXiv 2104.10350)."""
    return device_hours * watts * pue / 1000
