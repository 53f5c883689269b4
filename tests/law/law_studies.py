"""Runs for the tests of the law: simulated studies, and public ones read from ../shared where it is there."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from isoflop.core.products import LawPoint
from isoflop.law import forms
from isoflop.law.forms import Array
from isoflop.law.prior import Prior

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "scaling"

TRUTH = forms.theta_of(np.array([1.6, 60.0, 300.0, 0.36, 0.31, 1.0, 12.0, 6.0]))
"""A small byte-pair model's law: at N = 1e5 and D = 4e6, 1.6 + .95 + 2.7 nats a token; Chinchilla's sum."""

COUPLED = forms.theta_of(np.array([1.6, 80.0, 350.0, 0.36, 0.31, 2.0, 12.0, 6.0]))
"""The same with its terms coupled: 1.6 + (1.27^2 + 3.14^2)^(1/2)."""

LAWS = [("repeated_chinchilla", TRUTH), ("coupled", TRUTH), ("coupled", COUPLED)]
"""Forms, each with a law that obeys it."""

GRID = [(size, size * ratio) for size in (4e4, 1.2e5, 3.6e5, 1e6) for ratio in (8.0, 20.0, 50.0)]


def point(size: float, tokens: float, loss: float, *, unique: float = 1e12, noise: float = 0.0) -> LawPoint:
    return LawPoint(f"{size:g}-{tokens:g}", size, tokens, unique, 6 * size * tokens, loss, noise)


def study(
    theta: Array = TRUTH,
    *,
    noise: float = 0.0,
    seed: int = 0,
    unique: float = 1e12,
    grid: list[tuple[float, float]] = GRID,
) -> list[LawPoint]:
    """Runs over ``grid`` that obey coupled (repeated_chinchilla at p = 1), with noise of sd ``noise`` nats."""
    rng = np.random.default_rng(seed)
    size, tokens = np.array(grid).T
    loss = forms.loss(theta, size, tokens, np.full(len(grid), unique), form="coupled")
    measured = loss + noise * rng.standard_normal(len(grid))
    return [
        point(*where, float(value), unique=unique, noise=noise) for where, value in zip(grid, measured, strict=True)
    ]


def about(points: list[LawPoint]) -> Prior:
    """A prior of the tests' own, so that recalibrating the published one moves nothing here."""
    lowest = math.log(min(point.loss for point in points))
    levels = lowest + math.log(0.5), *[lowest + math.log(0.25)] * 2
    return Prior(
        mean=(*levels, 0.34, 0.34, math.log(2.0), math.log(15.4), math.log(5.3)),
        sd=(0.35, 1.0, 1.0, 0.05, 0.05, 0.35, 0.7, 0.8),
    )


def hoffmann_runs() -> list[LawPoint]:
    """The 240 runs of Hoffmann et al. 2022, Fig. 4 that Besiroglu et al. 2024 keep; D = C / 6N."""
    path = SHARED / "epoch_chinchilla" / "svg_extracted_data.csv"
    if not path.exists():
        pytest.skip("../shared/data/scaling/epoch_chinchilla is absent")
    rows = list(csv.DictReader(path.open()))
    runs = [(float(row["Model Size"]), float(row["Training FLOP"]), float(row["loss"])) for row in rows]
    points = [point(size, flops / (6 * size), loss) for size, flops, loss in runs]
    return sorted(points, key=lambda run: run.loss)[:-5]


def repeated_runs() -> tuple[Array, Array, Array, Array]:
    """N, D, U and loss of the 182 runs in the published fit of Muennighoff et al. 2023 (datablations/SOURCE.md)."""
    parquet = pytest.importorskip("pyarrow.parquet")
    paths = [SHARED / "scalebench" / f"data_constrained__{part}.parquet" for part in ("train", "test")]
    if not all(path.exists() for path in paths):
        pytest.skip("../shared/data/scaling/scalebench is absent")
    rows = [row for path in paths for row in parquet.read_table(path).to_pylist()]
    size, tokens, unique, loss = np.array([[r["params"], r["tokens"], r["unique_tokens"], r["loss"]] for r in rows]).T
    return size, tokens, unique, loss
