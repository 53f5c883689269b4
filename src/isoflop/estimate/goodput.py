"""What failures leave of a cluster's time: expected shares in closed form, the same by simulation, and what would help.

Failures come at random, one in ``seconds_between`` in the mean, also while a run restarts (a Poisson process). Between
saves a run works for ``interval`` seconds; a failure costs what came since the last save, and a restart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from isoflop.core.daly import daly_interval


@dataclass(frozen=True)
class Faults:
    """What stops a run, and what it then costs; seconds."""

    seconds_between: float
    """In the mean, over the whole cluster."""
    restart_seconds: float
    """From a failure until work goes on: noticed, replaced, loaded."""
    save_seconds: float
    """That the work waits for at each save."""


@dataclass(frozen=True)
class Goodput:
    """Shares of the wall time; they sum to one."""

    interval: float
    """Seconds of work between saves."""
    productive: float
    saving: float
    lost: float
    """Work that had to be done again."""
    restarting: float


def goodput(faults: Faults, interval: float | None = None) -> Goodput:
    """Expected shares; at Daly's interval unless another is given.

    A segment of tau + C seconds takes M e^(R/M) (e^((tau + C)/M) - 1) in the mean (Daly 2006, eq. 20), every one of
    the failures in it begins a restart of min(R, next failure), M (1 - e^(-R/M)) in the mean, and the rest is lost.
    """
    interval = daly_interval(faults.save_seconds, faults.seconds_between) if interval is None else interval
    mean = faults.seconds_between
    segment = mean * math.exp(faults.restart_seconds / mean) * math.expm1((interval + faults.save_seconds) / mean)
    productive, saving = interval / segment, faults.save_seconds / segment
    restarting = -math.expm1(-faults.restart_seconds / mean)
    return Goodput(interval, productive, saving, 1 - productive - saving - restarting, restarting)


def best_interval(faults: Faults) -> float:
    """The interval whose expected productive share is most, to the last digits: M (1 + W(-e^(-C/M - 1))).

    Where the derivative of tau / (e^((tau + C)/M) - 1) vanishes, e^(-(tau + C)/M) = 1 - tau/M; solved by Newton's
    method from Daly's interval.
    """
    ratio = faults.save_seconds / faults.seconds_between
    share = min(daly_interval(faults.save_seconds, faults.seconds_between) / faults.seconds_between, 0.999)
    for _ in range(50):
        decayed = math.exp(-(share + ratio))
        share -= (decayed - 1 + share) / (1 - decayed)
    return share * faults.seconds_between


def simulated(faults: Faults, interval: float, *, num_segments: int, seed: int = 0) -> Goodput:
    """The same shares from so many segments lived through, failure by failure."""
    generator = np.random.default_rng(seed)
    spent = {"saving": 0.0, "lost": 0.0, "restarting": 0.0}
    next_failure = generator.exponential(faults.seconds_between)
    for _ in range(num_segments):
        while next_failure < interval + faults.save_seconds:
            spent["lost"] += next_failure
            next_failure = generator.exponential(faults.seconds_between)
            while next_failure < faults.restart_seconds:
                spent["restarting"] += next_failure
                next_failure = generator.exponential(faults.seconds_between)
            spent["restarting"] += faults.restart_seconds
            next_failure -= faults.restart_seconds
        spent["saving"] += faults.save_seconds
        next_failure -= interval + faults.save_seconds
    worked = num_segments * interval
    wall = worked + sum(spent.values())
    return Goodput(interval, worked / wall, *(seconds / wall for seconds in spent.values()))


COMPONENTS: dict[str, int] = {
    "faulty GPU": 148,
    "GPU HBM3 memory": 72,
    "software bug": 54,
    "network switch or cable": 35,
    "host maintenance": 32,
    "GPU SRAM memory": 19,
    "GPU system processor": 17,
    "NIC": 7,
    "NCCL watchdog timeout": 7,
    "silent data corruption": 6,
    "GPU thermal interface and sensor": 6,
    "SSD": 3,
    "power supply": 3,
    "server chassis": 2,
    "IO expansion board": 2,
    "dependency": 2,
    "CPU": 2,
    "system memory": 2,
}
"""Unplanned interruptions of Llama 3 405B's training by component (Llama team 2024, arXiv 2407.21783, table 5)."""
OBSERVED_DEVICE_HOURS = 16_384 * 54 * 24.0
"""Over which they came: 16,384 H100 in 54 days."""


def expected_interruptions(num_devices: int, hours: float) -> dict[str, float]:
    """Of so many devices in so long, by component; each is assumed to fail as often a device-hour as Llama 3's."""
    share = num_devices * hours / OBSERVED_DEVICE_HOURS
    return {name: count * share for name, count in COMPONENTS.items()}


def mean_seconds_between(num_devices: int) -> float:
    """Between interruptions of so many devices, at Llama 3's rate: 3.1 hours for 16,384."""
    return 3600 / sum(expected_interruptions(num_devices, 1.0).values())


REMEDIES: dict[str, Callable[[Faults], Faults]] = {
    "saves ten times as fast": lambda faults: replace(faults, save_seconds=faults.save_seconds / 10),
    "restarts twice as fast (spares that stand by)": lambda faults: replace(
        faults, restart_seconds=faults.restart_seconds / 2
    ),
    "half of the failures stop nobody else (replicas that go on)": lambda faults: replace(
        faults, seconds_between=2 * faults.seconds_between
    ),
}


def what_if(faults: Faults) -> dict[str, Goodput]:
    """What each remedy alone would make of it, the interval chosen anew."""
    return {name: goodput(remedy(faults)) for name, remedy in REMEDIES.items()}
