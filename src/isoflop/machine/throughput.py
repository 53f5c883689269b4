"""Seconds of a training step as a function of shape and batch, fitted to a few measured steps.

FLOP/s vary threefold over the sizes one machine can train, so no single utilisation will do. The model is a sum of
costs with non-negative coefficients: fixed overhead, overhead per layer, matrix FLOPs, activation elements
(memory traffic), and parameters (optimizer traffic). Features that were not separable in the measurements simply
share their cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.core.products import Machine, StepTiming


@dataclass(frozen=True)
class Throughput:
    """A fitted step-time model for one way of running (dtype, eager, all threads)."""

    coefficients: np.ndarray
    error: float
    """Relative root-mean-square error over the measured steps."""

    def step_seconds(
        self,
        *,
        num_layers: int,
        hidden_size: int,
        intermediate_size: int,
        vocab_size: int,
        context: int,
        batch_tokens: int,
    ) -> float:
        """Predicted seconds of one step, eager, with all threads."""
        features = _features(num_layers, hidden_size, intermediate_size, vocab_size, context, batch_tokens)
        return float(features @ self.coefficients)


def fit_throughput(machine: Machine) -> Throughput:
    """Fits the model to the machine's eager single-process timings by relative non-negative least squares."""
    timings = [t for t in machine.timings if t.num_processes == 1 and not t.compiled and t.dtype == machine.dtype]
    rows = np.array([_timing_features(timing) / timing.seconds for timing in timings])
    coefficients = nonnegative_least_squares(rows, np.ones(len(timings)))
    errors = rows @ coefficients - 1
    return Throughput(coefficients, float(np.sqrt(np.mean(errors**2))))


def _timing_features(timing: StepTiming) -> np.ndarray:
    return _features(
        timing.num_layers,
        timing.hidden_size,
        timing.intermediate_size,
        timing.vocab_size,
        timing.context,
        timing.batch_tokens,
    )


def _features(layers: int, width: int, hidden: int, vocab: int, context: int, batch: int) -> np.ndarray:
    block_parameters = 4 * width * width + 3 * width * hidden
    heads = max(1, width // 64)
    flops = 6 * batch * (layers * block_parameters + vocab * width) + 6 * batch * layers * context * width
    # Newton-Schulz on r x c matrices: five rounds of r^2 c, r^3 and r^2 c products, about 20 r FLOPs a parameter and round
    orthogonalisation = 5 * 5 * width * layers * block_parameters
    elements = batch * (layers * (12 * width + 6 * hidden + 4 * heads * context) + 4 * vocab)
    parameters = layers * block_parameters + 2 * vocab * width
    # scaled to about a second each so that the solver is well conditioned
    return np.array([1.0, layers, (flops + orthogonalisation) / 1e12, elements / 1e9, parameters / 1e9])


def nonnegative_least_squares(a: np.ndarray, b: np.ndarray, *, sweeps: int = 20_000) -> np.ndarray:
    """argmin |a x - b| with x >= 0, by cyclic coordinate descent (Franc, Hlavac & Navara 2005)."""
    scale = np.linalg.norm(a, axis=0) + 1e-300
    gram, target = (a / scale).T @ (a / scale), (a / scale).T @ b
    x = np.zeros(a.shape[1])
    for _ in range(sweeps):
        before = x.copy()
        for j in range(len(x)):
            x[j] = max(0.0, x[j] + (target[j] - gram[j] @ x) / gram[j, j])
        if np.abs(x - before).max() < 1e-12:
            break
    return x / scale
