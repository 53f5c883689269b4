"""The estimates beside what was published: parameters, memory, speed, energy, carbon, goodput.

    python benchmarks/estimate.py --out /tmp/estimate

Prints each table with ours beside theirs and saves all; the tables' functions name the bars. Speed: the efficiencies
of `isoflop.estimate.speed` are fitted to MosaicML's 216 runs and Korthikanti's eight (``fitted``: the lines to put
there), and to all but one size in turn to predict that one. Seconds.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpora import SHARED, save, stamp
from isoflop.core.daly import daly_interval
from isoflop.estimate.bill import published_kwh
from isoflop.estimate.devices import Device, find_device
from isoflop.estimate.goodput import (
    Faults,
    best_interval,
    expected_interruptions,
    goodput,
    mean_seconds_between,
    simulated,
)
from isoflop.estimate.memory import activation_bytes
from isoflop.estimate.parallel import Division, Training
from isoflop.estimate.shapes import Shape
from isoflop.estimate.speed import Efficiencies, Work, seconds_of, work_of
from isoflop.model.count import count_parameters

ORACLES = SHARED.parent / "oracles"
GIB = 2**30
POUNDS_PER_KWH = 0.954
"""Strubell et al. 2019, section 2."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    runs = [*mosaic_runs(), *korthikanti_runs()]
    tables = {
        "mosaic": list(mosaic(runs)),
        "korthikanti_seconds": list(korthikanti_seconds(runs)),
        "fitted": list(fitted(runs)),
        "megatron": list(megatron()),
        "korthikanti": list(korthikanti()),
        "emissions": list(emissions()),
        "strubell": list(strubell()),
        "goodput": list(clusters()),
    }
    for name, rows in tables.items():
        print(f"\n{name}")
        for row in rows:
            print("  " + "  ".join(f"{key} {told(value)}" for key, value in row.items()))
    save(arguments.out / "estimate.json", stamp() | tables)


def told(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def rows_of(name: str) -> Iterator[dict[str, str]]:
    with (ORACLES / name).open() as file:
        yield from csv.DictReader(file)


def gpt(hidden: int, layers: int, heads: int, *, vocab_size: int = 51_200, context: int = 2048) -> Shape:
    """As Megatron-LM and MosaicML build it."""
    return Shape(
        vocab_size=vocab_size,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=context,
        family="gpt2",
        tie_word_embeddings=True,
    )


def megatron() -> Iterator[dict[str, Any]]:
    """Parameters to the printed digit, and the whole cluster's petaFLOP/s."""
    for row in rows_of("megatron_a100_2021.csv"):
        hidden, layers = int(row["hidden"]), int(row["layers"])
        billions = count_parameters(gpt(hidden, layers, hidden // 128)).all / 1e9
        petaflops = float(row["tflops_per_gpu"]) * int(row["gpus"]) / 1e3
        yield {
            "model": row["model"],
            "published_billions": row["params_b"],
            "billions": f"{billions:.1f}",
            "published_petaflops": row["aggregate_pflops"],
            "petaflops": petaflops,
            "within_rounding": within(float(row["aggregate_pflops"]), petaflops, 0.5 * int(row["gpus"]) / 1e3 + 0.05),
        }


def within(published: float, ours: float, half_a_digit: float) -> bool:
    return abs(published - ours) <= half_a_digit


def korthikanti() -> Iterator[dict[str, Any]]:
    """Activations on the first stage's devices, GiB: nothing recomputed; sequences divided and attention recomputed."""
    for row in rows_of("korthikanti_2022.csv"):
        training, plain = megatron_training(row)
        clever = dataclasses.replace(plain, sequence_parallel=True, recompute="selective")
        yield {
            "model": row["model"],
            "published_none": float(row["act_gib_none"]),
            "none": activation_bytes(training, plain) / GIB,
            "published_selective": float(row["act_gib_seqsel"]),
            "selective": activation_bytes(training, clever) / GIB,
        }


def megatron_training(row: dict[str, str]) -> tuple[Training, Division]:
    """A row of Korthikanti's tables; three chunks a stage for two of its models (section 6)."""
    shape = gpt(int(row["hidden"]), int(row["layers"]), int(row["heads"]))
    pipeline = int(row["pp"])
    chunks = 3 if row["model"] in ("175B", "530B") else 1
    micro = 4 if pipeline == 1 else 1
    training = Training(shape, int(row["batch"]), int(row["seq"]), flash=False)
    return training, Division(tensor=8, pipeline=pipeline, chunks=chunks, micro_batch=micro, sequence_parallel=False)


def emissions() -> Iterator[dict[str, Any]]:
    """MWh and t CO2e by hours x watts x PUE x grid; the range is what the inputs' rounding leaves open."""
    for row in rows_of("emissions.csv"):
        if not row["pue"]:
            continue
        names = ["gpu_hours"] if row["gpu_hours"] else ["devices", "days"]
        hours = math.prod(float(row[name]) for name in names) * (1 if row["gpu_hours"] else 24)
        megawatt_hours = published_kwh(hours, float(row["watts_per_device"]), float(row["pue"])) / 1e3
        inputs = [row[name] for name in (*names, "watts_per_device", "pue") if name != "devices"]
        tons = megawatt_hours * float(row["kgco2_per_kwh"])
        yield {
            "model": row["model"],
            "published_mwh": row["mwh_published"],
            "mwh": megawatt_hours,
            "published_tons": row["tco2e_published"],
            "tons": tons,
            "within_rounding": agrees(row["mwh_published"], megawatt_hours, inputs)
            and agrees(row["tco2e_published"], tons, [*inputs, row["kgco2_per_kwh"]]),
        }


def half_digit(text: str) -> float:
    """Half a unit of the last digit that is printed."""
    decimals = len(text.partition(".")[2])
    return 0.5 * 10.0**-decimals


def agrees(published: str, ours: float, inputs: list[str]) -> bool:
    """Whether what was published is what inputs that round to the printed ones give, rounded."""
    relative = sum(half_digit(text) / float(text) for text in inputs)
    return abs(float(published) - ours) <= relative * ours + half_digit(published)


def strubell() -> Iterator[dict[str, Any]]:
    """Pounds of CO2e: watts x hours x 1.58 / 1000 x .954."""
    for row in rows_of("strubell2019.csv"):
        pounds = published_kwh(float(row["hours"]), float(row["watts"]), 1.58) * POUNDS_PER_KWH
        yield {
            "model": row["model"],
            "published_pounds": row["lbs_co2_published"],
            "pounds": pounds,
            "within_rounding": agrees(row["lbs_co2_published"], pounds, [row["hours"], row["watts"], "0.954"]),
        }


@dataclass(frozen=True)
class Published:
    """A run with its measured seconds a step."""

    model: str
    kind: int
    """0: A100, 1: H100, 2: H100 in 8 bits."""
    device: Device
    training: Training
    division: Division
    seconds: float
    utilisation_off: float = 0.0
    """Published MFU less that of the published tokens a second and parameters, in points."""


MOSAIC = {
    "125m": (768, 12, 12),
    "350m": (1024, 24, 16),
    "760m": (1536, 24, 12),
    "1b": (2048, 24, 16),
    "3b": (2560, 32, 20),
    "7b": (4096, 32, 32),
    "13b": (5120, 40, 40),
    "30b": (7168, 48, 56),
    "70b": (8192, 80, 64),
}
"""Width, layers, heads (llm-foundry 8c8dd48, scripts/train/benchmarking)."""
MOSAIC_DEVICES = {"a100_40gb": "A100-40", "a100_80gb": "A100-80", "h100_80gb": "H100"}
MOSAIC_VOCAB = 50_368


def mosaic_runs() -> Iterator[Published]:
    with (SHARED.parent / "throughput" / "mpt_llmfoundry.csv").open() as file:
        for row in csv.DictReader(file):
            devices, micro, context = int(row["# GPUs"]), int(row["MicroBatchSize"]), int(row["SeqLen (T)"])
            batch = int(row["GlobalBatchSize"]) // (devices * micro) * devices * micro
            shape = gpt(*MOSAIC[row["Model"]], vocab_size=MOSAIC_VOCAB, context=context)
            again = "full" if row["Activation Checkpointing"] == "True" else "none"
            yield Published(
                row["Model"],
                2 if "fp8" in row["Precision"] else int("h100" in row["GPU"]),
                find_device(MOSAIC_DEVICES[row["GPU"]]),
                Training(shape, batch, context, fp8="fp8" in row["Precision"]),
                Division(devices, sharding="full", micro_batch=micro, recompute=again),
                batch * context / float(row["Throughput (T/s/GPU)"]) / devices,
                float(row["MFU"]) - 100 * mosaic_utilisation(row),
            )


def mosaic_utilisation(row: dict[str, str]) -> float:
    """6 N + 12 L h s FLOPs a token over the peak, as MosaicML counts them."""
    width, layers, _ = MOSAIC[row["Model"]]
    flops = 6 * int(row["NumParams"]) + 12 * layers * width * int(row["SeqLen (T)"])
    device = find_device(MOSAIC_DEVICES[row["GPU"]])
    peak = device.fp8_flops if "fp8" in row["Precision"] and device.fp8_flops else device.bf16_flops
    return flops * float(row["Throughput (T/s)"]) / (int(row["# GPUs"]) * peak)


def korthikanti_runs() -> Iterator[Published]:
    """Eight tensor-parallel A100; all recomputed, and sequences divided with attention recomputed."""
    for row in rows_of("korthikanti_2022.csv"):
        training, plain = megatron_training(row)
        clever = dataclasses.replace(plain, sequence_parallel=True, recompute="selective")
        full = dataclasses.replace(plain, recompute="full")
        for division, column in ((full, "iter_s_full"), (clever, "iter_s_seqsel")):
            yield Published(row["model"], 0, find_device("A100-80"), training, division, float(row[column]))


PRIOR = np.log([0.85, 0.75, 1.2, 0.6, 0.45, 0.45, 1.5, 1.5, 300, 3e-4, 1e-3, 0.7, 0.7])
"""Products and attention of each kind, passes of A100 and H100, half_width, layer_seconds, gather_seconds, links,
hidden; and how far, in logs, they may be off:"""
PRIOR_SD = np.array([0.3, 0.3, 0.3, 0.5, 0.5, 0.5, 0.7, 0.7, 1.0, 0.3, 1.0, 0.3, 0.4])
RESIDUAL = 0.04
"""Relative error that is usual; beyond it residuals count by their size, not their square."""


class Fit:
    """Efficiencies by damped Gauss-Newton steps on pseudo-Huber residuals of log seconds."""

    def __init__(self, runs: list[Published]) -> None:
        works = [work_of(run.training, run.division, run.device.node_size) for run in runs]
        self.kinds = np.array([run.kind for run in runs])
        self.seconds = np.array([run.seconds for run in runs])
        self.work = Work(*(np.array([getattr(work, each.name) for work in works]) for each in dataclasses.fields(Work)))
        rates = ("matmul_flops", "memory_bytes_per_second", "link_bytes_per_second", "network_bytes_per_second")
        columns = {name: np.array([getattr(run.device, name) for run in runs]) for name in rates}
        self.device: Any = dataclasses.replace(runs[0].device, **columns)

    def efficiencies(self, theta: np.ndarray, kinds: Any) -> Efficiencies:
        values = np.exp(theta)
        passes = np.array([values[6], values[7], values[7]])
        return Efficiencies(values[:3][kinds], values[8], values[3:6][kinds], passes[kinds], *values[9:13])

    def errors(self, theta: np.ndarray) -> np.ndarray:
        """Logs of predicted over measured seconds."""
        found = seconds_of(self.work, self.device, self.efficiencies(theta, self.kinds)).total
        errors: np.ndarray = np.log(found / self.seconds)
        return errors

    def to(self, which: np.ndarray) -> np.ndarray:
        """The logs of what fits these runs and the prior best."""

        def residuals(theta: np.ndarray) -> np.ndarray:
            return np.concatenate([self.errors(theta)[which] / RESIDUAL, (theta - PRIOR) / PRIOR_SD])

        theta, damping = PRIOR.copy(), 1.0
        now = residuals(theta)
        for _ in range(100):
            nudges = 1e-4 * np.eye(len(theta))
            slopes = np.stack([(residuals(theta + nudge) - now) / 1e-4 for nudge in nudges], axis=1)
            weights = 1 / np.sqrt(1 + now**2)
            normal = slopes.T @ (slopes * weights[:, None])
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), slopes.T @ (now * weights))
            tried = residuals(theta - step)
            better = np.sqrt(1 + tried**2).sum() < np.sqrt(1 + now**2).sum()
            theta, now = (theta - step, tried) if better else (theta, now)
            damping = damping / 3 if better else 4 * damping
        return theta


def mosaic(runs: list[Published]) -> Iterator[dict[str, Any]]:
    """Tokens a second of each size, from the others' (bar: 10 % in the median), and by their median utilisation; and
    how far the published utilisation is from that of the published tokens a second, at most (bar: .02 points)."""
    fit, sizes = Fit(runs), np.array([run.model for run in runs])
    used = np.array([flops_a_second(run) / run.device.bf16_flops for run in runs])
    off = np.abs([run.utilisation_off for run in runs])
    errors, constant = np.zeros(len(runs)), np.zeros(len(runs))
    for size in MOSAIC:
        out, rest = sizes == size, np.flatnonzero(sizes != size)
        errors[out] = fit.errors(fit.to(rest))[out]
        for kind in range(3):
            mine = out & (fit.kinds == kind)
            constant[mine] = np.log(used[mine] / np.median(used[rest][fit.kinds[rest] == kind]))
        yield summary(size, errors[out], constant[out], off[out])
    ours = np.isin(sizes, list(MOSAIC))
    yield summary("all", errors[ours], constant[ours], off[ours])


def summary(name: str, errors: np.ndarray, constant: np.ndarray, off: np.ndarray) -> dict[str, Any]:
    return {
        "left_out": name,
        "runs": len(errors),
        "median_error": float(np.median(np.abs(np.expm1(errors)))),
        "of_ten_nine_below": float(np.quantile(np.abs(np.expm1(errors)), 0.9)),
        "median_error_of_constant_utilisation": float(np.median(np.abs(np.expm1(constant)))),
        "utilisation_off_points": float(off.max()),
    }


def flops_a_second(run: Published) -> float:
    """Of one device: 6 N + 12 L h s a token."""
    config, training = run.training.config, run.training
    a_token = 6 * count_parameters(config).all + 12 * config.num_hidden_layers * config.hidden_size * training.context
    return a_token * training.batch * training.context / run.division.num_devices / run.seconds


def korthikanti_seconds(runs: list[Published]) -> Iterator[dict[str, Any]]:
    """Seconds of an iteration (bars: 3.65 % in the mean, 8.87 at most), fitted with MosaicML's runs and by these."""
    fit, models = Fit(runs), np.array([run.model for run in runs])
    ours = np.isin(models, list(MOSAIC))
    errors, unseen = (fit.errors(fit.to(np.flatnonzero(which))) for which in (np.ones(len(runs), bool), ours))
    for i in np.flatnonzero(~ours):
        yield {
            "model": models[i],
            "recompute": runs[i].division.recompute,
            "published_seconds": runs[i].seconds,
            "seconds": runs[i].seconds * math.exp(errors[i]),
            "error": math.expm1(errors[i]),
            "error_from_mosaic_alone": math.expm1(unseen[i]),
        }
    for name, found in (("fitted together", errors), ("from MosaicML's alone", unseen)):
        sizes = np.abs(np.expm1(found[~ours]))
        yield {"model": name, "mean_error": float(sizes.mean()), "largest": float(sizes.max())}


def fitted(runs: list[Published]) -> Iterator[dict[str, Any]]:
    """What stands in `isoflop.estimate.speed`."""
    fit = Fit(runs)
    theta = fit.to(np.arange(len(runs)))
    for kind, name in enumerate(("A100", "H100", "H100_FP8")):
        found = fit.efficiencies(theta, kind)
        yield {"name": name} | {key: float(value) for key, value in dataclasses.asdict(found).items()}


def clusters() -> Iterator[dict[str, Any]]:
    """Llama 3's failures; Daly's interval against the best; closed form against simulation."""
    between = mean_seconds_between(16_384)
    found = goodput(Faults(between, 600.0, 10.0))
    yield {
        "what": "Llama 3, 54 days on 16,384 H100",
        "published_interruptions": 419,
        "interruptions": sum(expected_interruptions(16_384, 54 * 24).values()),
        "published_productive": "> 0.9",
        "productive (saves 10 s, restarts 10 min)": found.productive,
    }
    for save_seconds, hours in ((2.0, 1.0), (30.0, 3.1), (300.0, 3.1), (60.0, 24.0)):
        faults = Faults(3600 * hours, 0.1 * 3600 * hours, save_seconds)
        daly, best = daly_interval(save_seconds, 3600 * hours), best_interval(faults)
        closed = goodput(faults, daly).productive
        lived = simulated(faults, daly, num_segments=int(60_000 * 3600 * hours / daly)).productive
        yield {
            "what": f"saves of {save_seconds:g} s, a failure in {hours:g} h",
            "daly": daly,
            "best": best,
            "lost by daly": 1 - closed / goodput(faults, best).productive,
            "closed form": closed,
            "simulated": lived,
        }


if __name__ == "__main__":
    main()
