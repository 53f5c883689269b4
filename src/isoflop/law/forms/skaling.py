"""Skaling: loss = E + ((A / N^alpha)^p + (B / D^beta)^p)^(1/p), Chinchilla's two terms coupled.

Videau, Youbi-Idrissi, Lopez-Paz & Ahuja (2026, arXiv 2608.07222) write (A' / N^a + B' / D^b)^k + E; here k = 1 / p,
a = alpha p, A' = A^p, and likewise for D. So written alpha and beta are the exponents that a lack of parameters or of
tokens alone would show, whatever p is. p = 1 is Chinchilla; with p > 1 a larger model gains more from the same
tokens, as Kaplan et al. (2020, arXiv 2001.08361, eq. 1.5) have it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoflop.law.forms.base import PARAMS, TOKENS, Array, Columns, Form, split
from isoflop.law.forms.chinchilla import power_starts, rescaled_pair

COUPLINGS = (1.0, 1.7, 3.0)
EXPONENTS = (0.08, 0.2, 0.35, 0.6, 1.0)


class Skaling(Form):
    """Six parameters: Chinchilla's and the coupling p."""

    name = "skaling"
    parameters = ("E", "A", "B", "alpha", "beta", "p")
    logarithmic = frozenset({"E", "A", "B", "p"})

    def log_loss(self, theta: Array, at: Columns) -> Array:
        return self.log_loss_at(theta, np.log(at[PARAMS]), np.log(at[TOKENS]))

    def log_loss_at(self, theta: Array, log_size: Array, log_tokens: Array) -> Array:
        """At logs of N and D that may differ between thetas: they broadcast against [..., n]."""
        return coupled_log_loss(theta, log_size, log_tokens)

    def slopes(self, theta: Array, at: Columns) -> Array:
        return coupled_slopes(theta, np.log(at[PARAMS]), np.log(at[TOKENS]))

    def starts(self, at: Columns, loss: Array) -> Array:
        plain = power_starts(loss, EXPONENTS)
        return np.vstack([np.hstack([plain, np.full((len(plain), 1), np.log(p))]) for p in COUPLINGS])

    def rescaled(self, theta: Array, units: Mapping[str, float]) -> Array:
        return rescaled_pair(theta, units)


def coupled_log_loss(theta: Array, log_size: Array, log_tokens: Array) -> Array:
    """Log loss [..., n] of theta [..., 6] at logs of N and D that broadcast against [..., n]."""
    log_e, log_a, log_b, alpha, beta, log_p = split(theta)
    p = np.exp(log_p)
    joint = np.logaddexp(p * (log_a - alpha * log_size), p * (log_b - beta * log_tokens)) / p
    result: Array = np.log(np.exp(log_e) + np.exp(joint))
    return result


def coupled_slopes(theta: Array, log_size: Array, log_tokens: Array) -> Array:
    """Derivatives [..., 6, n] of `coupled_log_loss`."""
    log_e, log_a, log_b, alpha, beta, log_p = split(theta)
    p = np.exp(log_p)
    of_size, of_tokens = log_a - alpha * log_size, log_b - beta * log_tokens
    joint = np.logaddexp(p * of_size, p * of_tokens) / p
    floor, reducible = np.exp(log_e), np.exp(joint)
    share = reducible / (floor + reducible)
    size_part, tokens_part = np.exp(p * (of_size - joint)), np.exp(p * (of_tokens - joint))
    by_p = size_part * of_size + tokens_part * of_tokens - joint  # d joint / d log p
    by_size, by_tokens = share * size_part, share * tokens_part
    return np.stack(
        [1 - share, by_size, by_tokens, -by_size * log_size, -by_tokens * log_tokens, share * by_p], axis=-2
    )
