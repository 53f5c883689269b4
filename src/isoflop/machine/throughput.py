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
from isoflop.model.config import ModelConfig
from isoflop.model.count import count_parameters, flops_per_token


@dataclass(frozen=True)
class Throughput:
    """A fitted step-time model for one way of running (dtype, eager, all threads)."""

    coefficients: np.ndarray
    error: float
    """Relative root-mean-square error over the measured steps."""

    def step_seconds(self, config: ModelConfig, *, batch_tokens: float) -> float:
        """Predicted seconds of one step, eager, with all threads, at the config's full context."""
        return float(_features(config, batch_tokens) @ self.coefficients)


def fit_throughput(machine: Machine) -> Throughput:
    """Fits the model to the machine's eager single-process timings by relative non-negative least squares."""
    timings = [t for t in machine.timings if t.num_processes == 1 and not t.compiled and t.dtype == machine.dtype]
    rows = np.array([_features(shape_of(timing), timing.batch_tokens) / timing.seconds for timing in timings])
    coefficients = nonnegative_least_squares(rows, np.ones(len(timings)))
    errors = rows @ coefficients - 1
    return Throughput(coefficients, float(np.sqrt(np.mean(errors**2))))


def gain_together(machine: Machine) -> float:
    """Speed of the processes that train together over that of one; 1 where there is but one."""
    for timing in machine.timings:
        if timing.num_processes > 1:
            alone = fit_throughput(machine).step_seconds(shape_of(timing), batch_tokens=timing.batch_tokens)
            return alone / timing.seconds
    return 1.0


def shape_of(timing: StepTiming) -> ModelConfig:
    """The ladder's model that was timed."""
    head_dim = 64 if timing.hidden_size % 64 == 0 and timing.hidden_size >= 128 else 32
    return ModelConfig(
        vocab_size=timing.vocab_size,
        hidden_size=timing.hidden_size,
        num_hidden_layers=timing.num_layers,
        num_attention_heads=timing.hidden_size // head_dim,
        head_dim=head_dim,
        intermediate_size=timing.intermediate_size,
        max_position_embeddings=timing.context,
    )


def _features(config: ModelConfig, batch: float) -> np.ndarray:
    width, layers, context = config.hidden_size, config.num_hidden_layers, config.max_position_embeddings
    counts = count_parameters(config)
    # five Newton-Schulz rounds on r x c matrices: r^2 c, r^3 and r^2 c products, some 5 r FLOPs a parameter and round
    orthogonalisation = 25 * width * counts.non_embedding
    flops = batch * flops_per_token(config, context=context) + orthogonalisation
    scores = config.num_attention_heads * context
    elements = batch * (layers * (12 * width + 6 * config.intermediate_size + 4 * scores) + 4 * config.vocab_size)
    # scaled to about a second each so that the solver is well conditioned
    return np.array([1.0, layers, flops / 1e12, elements / 1e9, counts.all / 1e9])


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
