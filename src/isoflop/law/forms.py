"""Forms of the scaling law: loss in nats per token from matmul parameters N, tokens D and unique tokens U.

All forms share eight parameters, ``theta = (log E, log A, log B, alpha, beta, log p, log R_D*, log R_N*)``:

    loss = E + ((A / N'^alpha)^p + (B / D'^beta)^p)^(1/p)

- ``chinchilla`` (Hoffmann et al. 2022, arXiv 2203.15556, eq. 10): p = 1, N' = N, D' = D.
- ``muennighoff`` (Muennighoff et al. 2023, arXiv 2305.16264, eq. 5-7): p = 1; with U_D = min(U, D),
  R_D = max(D / U_D - 1, 0), U_N = min(N, N_opt(U_D)) and R_N = N / U_N - 1, where N_opt(D) is the size compute-optimal
  for D fresh tokens,
      D' = U_D (1 + R_D* (1 - exp(-R_D / R_D*))),    N' = U_N (1 + R_N* (1 - exp(-R_N / R_N*))).
- ``repeated_chinchilla`` (ours): p = 1; D' as in the paper; log N' moves from log N to the paper's log N' by the share
  s = 1 - exp(-R_D / R_D*) of repetition's worth already spent. With fresh data (D <= U) it is Chinchilla exactly, and
  no jump follows at the first repetition; the paper also discounts large models that see each token once. Refitted to
  its 182 runs by Hoffmann's objective, exponents free, it reaches .00633 against .00657 (139 runs up to 100 epochs:
  .00403 against .00415; 99 up to 20 epochs: .00185 against .00182), Chinchilla blind to U .00895.
- ``coupled``: the same with p free. With p > 1 a larger model gains more from the same tokens, as Kaplan et al. (2020,
  arXiv 2001.08361, eq. 1.5) have it (there E = 0 and p = 1 / beta), and pilots of 1e11 to 4e12 FLOPs show clearly
  (docs/log.md); alpha and beta stay the exponents that a lack of parameters or of tokens alone would show.

N_opt(D) makes the two reducible terms' marginal gains equal under C = 6 N D: alpha (A / N^alpha)^p = beta (B /
D^beta)^p, hence N_opt = ((alpha / beta)^(1/p) A D^beta / B)^(1 / alpha); with p = 1 the paper's G (G D)^(beta / alpha)
with G = (alpha A / (beta B))^(1 / (alpha + beta)). Nothing depends on the units of N or of D and U: rescaling them
only rescales A and B.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FORMS = ("chinchilla", "repeated_chinchilla", "muennighoff", "coupled")

PARAMETERS = ("E", "A", "B", "alpha", "beta", "p", "R_D*", "R_N*")
"""Natural parameters, in the order of theta. All but the exponents stand in theta as logarithms."""

LOGARITHMIC = np.array([True, True, True, False, False, True, True, True])


def loss(theta: Array, num_parameters: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike, *, form: str) -> Array:
    """Loss in nats per token, [..., points], of ``theta`` [..., 8] at arrays [points] of N, D and U.

    Raises ``ValueError`` for an unknown form. Where theta makes no sense (an exponent below zero under repetition)
    the result is NaN.
    """
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}: use one of {', '.join(FORMS)}")
    size, seen, unique = (np.asarray(value, dtype=float) for value in (num_parameters, tokens, unique_tokens))
    theta = constrained(theta, form)
    log_e, log_a, log_b, alpha, beta, log_p, _, _ = np.moveaxis(theta, -1, 0)[..., None]
    gated = form in ("repeated_chinchilla", "coupled")
    if form == "chinchilla" or (gated and bool(np.all(seen <= unique))):
        log_size, log_tokens = np.log(size), np.log(seen)
    else:
        log_size, log_tokens = _effective(theta, size, seen, unique, gated=gated)
    p = np.exp(log_p)
    of_size, of_tokens = log_a - alpha * log_size, log_b - beta * log_tokens
    result: Array = np.exp(log_e) + np.exp(np.logaddexp(p * of_size, p * of_tokens) / p)
    return result


def constrained(theta: Array, form: str) -> Array:
    """theta [..., 8] as ``form`` reads it: with p = 1 unless it is coupled."""
    if form == "coupled":
        return theta
    result = theta.copy()
    result[..., PARAMETERS.index("p")] = 0.0
    return result


def natural(theta: Array) -> Array:
    """The natural parameters of theta, both [..., 8]."""
    result: Array = np.where(LOGARITHMIC, np.exp(np.where(LOGARITHMIC, theta, 0.0)), theta)
    return result


def theta_of(parameters: Array) -> Array:
    """theta of natural parameters, both [..., 8]; the inverse of :func:`natural`."""
    result: Array = np.where(LOGARITHMIC, np.log(np.where(LOGARITHMIC, parameters, 1.0)), parameters)
    return result


def rescaled(theta: Array, size_unit: float, token_unit: float) -> Array:
    """theta for N and D in ones, from theta for N in ``size_unit`` and D in ``token_unit``: A becomes A unit^alpha."""
    result = theta.copy()
    result[..., 1] += theta[..., 3] * np.log(size_unit)
    result[..., 2] += theta[..., 4] * np.log(token_unit)
    return result


def hoffmann_objective(predicted: ArrayLike, measured: ArrayLike, *, delta: float = 1e-3) -> float:
    """Sum over points of Huber_delta(log predicted - log measured): the objective of Hoffmann et al. 2022, eq. 9."""
    residuals = np.abs(np.log(np.asarray(predicted, dtype=float)) - np.log(np.asarray(measured, dtype=float)))
    return float(np.sum(huber(residuals, delta)))


def huber(residuals: Array, delta: float) -> Array:
    """r^2 / 2 up to delta, delta (|r| - delta / 2) beyond (Huber 1964)."""
    size = np.abs(residuals)
    result: Array = np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))
    return result


def _effective(theta: Array, size: Array, seen: Array, unique: Array, *, gated: bool) -> tuple[Array, Array]:
    """(log N', log D'), each [..., points]; see the module's text."""
    _, log_a, log_b, alpha, beta, log_p, log_rd, log_rn = np.moveaxis(theta, -1, 0)[..., None]
    fresh = np.minimum(unique, seen)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        log_tokens, spent = _saturated(np.log(fresh), seen / fresh - 1.0, np.exp(log_rd))
        log_optimal = (np.log(alpha / beta) * np.exp(-log_p) + log_a - log_b + beta * np.log(fresh)) / alpha
        log_base = np.minimum(np.log(size), log_optimal)
        log_size, _ = _saturated(log_base, np.expm1(np.log(size) - log_base), np.exp(log_rn))
    return np.log(size) + (spent if gated else 1.0) * (log_size - np.log(size)), log_tokens


def _saturated(log_base: Array, repeats: Array, scale: Array) -> tuple[Array, Array]:
    """(log of base (1 + scale s), s) with s = 1 - exp(-repeats / scale)."""
    spent = -np.expm1(-repeats / scale)
    return log_base + np.log1p(scale * spent), spent
