"""Runs for the tests of the law: simulated studies, and public ones read from ../shared where it is there."""

import math
from pathlib import Path

import numpy as np
import pytest

from isoflop.core.products import LawPoint
from isoflop.law.forms import PARAMS, TOKENS, UNIQUE, Array, form_of
from isoflop.law.prior import Prior
from isoflop.law.table import Table

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "scaling"

EIGHT = form_of("coupled")
"""The form of all eight parameters that these studies speak of."""

TRUTH = EIGHT.theta_of(np.array([1.6, 60.0, 300.0, 0.36, 0.31, 1.0, 12.0, 6.0]))
"""A small byte-pair model's law: at N = 1e5 and D = 4e6, 1.6 + .95 + 2.7 nats a token; Chinchilla's sum."""

COUPLED = EIGHT.theta_of(np.array([1.6, 80.0, 350.0, 0.36, 0.31, 2.0, 12.0, 6.0]))
"""The same with its terms coupled: 1.6 + (1.27^2 + 3.14^2)^(1/2)."""

LAWS = [("repeated_chinchilla", TRUTH), ("coupled", TRUTH), ("coupled", COUPLED)]
"""Forms, each with a law that obeys it."""

GRID = [(size, size * ratio) for size in (4e4, 1.2e5, 3.6e5, 1e6) for ratio in (8.0, 20.0, 50.0)]


def loss(theta: Array, size: Array, tokens: Array, unique: Array, *, form: str = "coupled") -> Array:
    """Nats per token of ``form`` with those of theta's eight parameters [..., 8] that it has."""
    chosen = form_of(form)
    values = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (size, tokens, unique)))
    index = [EIGHT.index(name) for name in chosen.parameters]
    return chosen.loss(theta[..., index], dict(zip((PARAMS, TOKENS, UNIQUE), values, strict=True)))


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
    true = loss(theta, size, tokens, np.full(len(grid), unique))
    measured = true + noise * rng.standard_normal(len(grid))
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


def hoffmann_runs() -> Table:
    """The 245 runs of Hoffmann et al. 2022, Fig. 4 that Besiroglu et al. 2024 extracted; D = C / 6N."""
    path = SHARED / "epoch_chinchilla" / "svg_extracted_data.csv"
    if not path.exists():
        pytest.skip("../shared/data/scaling/epoch_chinchilla is absent")
    return Table.read(path, names={"params": "Model Size", "flops": "Training FLOP"})


def kept_by_besiroglu(runs: Table) -> Table:
    """All but the five of highest loss, in the file's order."""
    return runs.take(np.sort(np.argsort(runs.loss)[:-5]))


def repeated_runs() -> tuple[Array, Array, Array, Array]:
    """N, D, U and loss of the 182 runs in the published fit of Muennighoff et al. 2023 (datablations/SOURCE.md)."""
    parquet = pytest.importorskip("pyarrow.parquet")
    paths = [SHARED / "scalebench" / f"data_constrained__{part}.parquet" for part in ("train", "test")]
    if not all(path.exists() for path in paths):
        pytest.skip("../shared/data/scaling/scalebench is absent")
    rows = [row for path in paths for row in parquet.read_table(path).to_pylist()]
    names = ("params", "tokens", "unique_tokens", "loss")
    size, tokens, unique, measured = np.array([[row[name] for name in names] for row in rows]).T
    return size, tokens, unique, measured
