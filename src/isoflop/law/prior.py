"""Every number the law takes on trust, in one place, with its source. Recalibrate here.

A prior is Gaussian over theta (see :mod:`isoflop.law.forms`) with A and B replaced by A0 = A / N0^alpha and
B0 = B / D0^beta, where N0 and D0 are the geometric means of the points' N and D: the two reducible terms of the loss at
the centre of the points. Centring takes away the ridge between A and alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isoflop.law.forms import FORMS, PARAMS, TOKENS, Array, Columns, Form

_PARAMETERS = FORMS["coupled"].parameters

ALPHA = (0.34, 0.05)
"""Mean and sd. Hoffmann et al. 2022: .339; Besiroglu et al. 2024: .348; Muennighoff et al. 2023: .353."""

BETA = (0.34, 0.05)
"""Mean and sd. Hoffmann .285; Besiroglu .366; Muennighoff .353."""

LOG_P = (math.log(2.2), 0.35)
"""Coupling of the two terms; 1 is Chinchilla's sum."""

MEASURED_CENTRE = (1e6, 4e6)
MEASURED_LEVELS = ((-1.2, 0.2), (-1.56, 0.25), (-1.42, 0.25))
"""Mean and sd of the logarithms of E, A0 and B0 as shares of the unigram entropy, from a first fit of one law to the
runs of four texts; ``benchmarks/levels.py`` puts them at -1.69 to -1.06, -1.61 to -1.26 and -1.43 to -1.06
(docs/log.md, 24)."""
MEASURED_VOCABULARY, LARGEST_VOCABULARY = 4_096, 32_768
"""Those texts were cut into so many kinds of tokens; `rises` are believed up to the larger."""
FLOOR_BY_VOCABULARY, REDUCIBLE_BY_VOCABULARY = 0.11, (0.06, 0.015)
"""By how much the logarithms of E, and of A0 and B0, rise with that of the kinds. E: what a byte costs at the end does
not depend on how bytes are cut, so E goes with the bytes of a token; .066 to .102 on four texts from 4,096 to 8,192.
A0 and B0, which rise with its square too: ``benchmarks/vocabulary_grid.py`` finds -.047 and -.022 on two texts at
2,048, .053 and .045 at 8,192; beyond is extrapolated (docs/log.md, 38)."""
MEASURED_SHAPE = ((0.22, 0.03), (0.2, 0.025), (math.log(3.3), 0.15))
"""alpha, beta and log p of the form ``coupled``, from the same fit; ``levels.py`` says .207, .173 and log 3.6."""
MEASURED_R_N = (math.log(3.8), 0.7)
"""R_N*: between Muennighoff's 5.3 and the 1.8 of the same fit, which hardly knows it (``levels.py``: .7)."""
EQUALS = ((7.5e5, 16e6), (4e6, 4.3e6))
EQUALS_SD = 0.006
"""Two runs, N and D on fresh tokens, that are worth the same on every text, and the sd of their log losses' difference:
levels move together, so texts differ in what there is to gain and hardly in what a gain costs. ``levels.py`` finds a
difference of .004 to .006 on three texts and .018 on one that learns to copy on the way (docs/log.md, 24)."""

TRIGRAM_SIZE, TRIGRAM_RATIO, TRIGRAM_SD = 1e6, 1.42, 0.035
"""Between 0.25 and 2 to 3.5 M tokens the log loss of 1e6 matmul parameters falls so many times as far as that of a
trigram model of as many tokens of the same text: the mean over four corpora whose copying gain is below .03 (1.41 to
1.45), and the relative sd of a study about it (docs/log.md, 18)."""
TRIGRAM_BY_VOCABULARY = -0.12
"""Exponent of that ratio in the kinds of tokens: the rarer they are, the longer a model takes to learn them and the
sooner counting does. ``benchmarks/vocabulary_grid.py``: .9 times at 8,192 and 1.2 at 2,048 on two texts, up to 1 M
tokens; whole runs at 8,192 on both want .93 (docs/log.md, 38)."""
COPIED, COPIED_SD = 0.6, 1 / 3
"""What that ratio loses per share of the held-out text that stands in the training text word for word, and its relative
sd more: counting knows such text by heart at once, a model later. One corpus shows it, whose share is .18, and not how
much: its studies' own ratios of .95 to 1.02 would say 1.7, but then its forecasts of 30 minutes, when the models have
caught up, are 6 % too high; with .6 those of 5 and 30 minutes are 1 % off either way (docs/log.md, 18 and 29)."""

LOG_R_D = (math.log(15.4), 0.7)
"""Muennighoff R_D* = 15.39; their 182 runs alone give a 90 % interval of [5, infinity) (scaling.md sec. 0, 5b), the
whole runs of docs/log.md, 7, 2 to 15, those of 22 and 24 some 5 to 9, those of 35 as much and more."""

LOG_R_N = (math.log(5.3), 0.8)
"""Muennighoff R_N* = 5.31."""

IRREDUCIBLE = (0.5, 0.35)
"""E as a share of the lowest loss measured, and the sd of its logarithm: weak."""

REDUCIBLE = (0.25, 1.0)
"""A0 and B0 as a share of the lowest loss measured, and the sd of their logarithms: weak."""

ANY_TEXT_SD = (1.0, 3.0, 3.0, 0.6, 0.6, 1.0)
"""Spread of log E, log A0, log B0, alpha, beta and log p among texts of which nothing is known: so loose that eight
pilots of laws with exponents from .2 to 1 give intervals of E that hold it (tests/law/test_pilot_law.py; with spreads
a quarter to a half as wide a third of them did, docs/log.md, 18)."""

FLAT_SD = 30.0
"""Standard deviation of a prior that says nothing: less than 1e-4 of the weight of one pilot."""

MODEL_SD = 0.003
"""Least relative misfit of the form itself inside the range of the points; the fit enlarges it when residuals do."""

MISFIT_PER_EFOLD = 0.5
"""Growth of a point's misfit with every e-fold of N D that it lies below the costliest point. What is asked of a law
lies above all points: small runs that see less than the form's range (before copying within a context is learnt, say)
must not outvote the large ones (docs/log.md)."""

DISCREPANCY_PER_EFOLD = 0.005
"""Relative sd added to a prediction per e-fold of N D beyond the costliest point. The plain form misses the costliest
30 % of 28 public data sets by a median of 1.5 %, over some 2.5 to 5 e-folds (scaling.md sec. 0, 4): an sd of .006 an
e-fold. Our own studies are missed by 2.2 % (rms) over 3 to 4 (docs/log.md, 12)."""

HUBER_DELTA = 1.345
"""Residuals beyond this many standard deviations count linearly: 95 % efficiency for Gaussian noise (Huber 1964)."""

IDENTIFIED_BELOW = 0.7
"""A parameter whose posterior sd is above this share of its prior sd comes from the prior rather than the pilots."""


Rises = tuple[float, float]
"""What a vocabulary adds to the logarithms of E, and of A0 and B0, as shares of the unigram entropy."""


def rises(vocab_size: int) -> Rises:
    """Those that are usual for so many kinds of tokens."""
    times, (slope, bend) = log_times(vocab_size), REDUCIBLE_BY_VOCABULARY
    return FLOOR_BY_VOCABULARY * times, (slope + bend * times) * times


def log_times(vocab_size: int) -> float:
    """Log of the kinds of tokens over those of the measured texts, as far as that is believed."""
    return math.log(min(vocab_size, LARGEST_VOCABULARY) / MEASURED_VOCABULARY)


@dataclass(frozen=True)
class Ratio:
    """What is known, before any run, of the losses at two places of fresh tokens."""

    places: tuple[tuple[float, float], tuple[float, float]]
    """(N, D) each."""
    log_ratio: float
    """Log of the loss at the second over that at the first."""
    sd: float

    @staticmethod
    def of_trigrams(
        tokens: tuple[float, float],
        nats: tuple[float, float],
        overlap: float = 0.0,
        vocab_size: int = MEASURED_VOCABULARY,
    ) -> Ratio:
        """How far the loss falls between two numbers of tokens, from trigram models of as many (``text/ngrams.py``).

        ``overlap`` is the share of the held-out text that training text repeats (``text/overlap.py``).
        """
        times = math.exp(TRIGRAM_BY_VOCABULARY * log_times(vocab_size)) * max(0.0, 1 - COPIED * overlap)
        log_ratio = TRIGRAM_RATIO * times * math.log(nats[1] / nats[0])
        sd = math.hypot(TRIGRAM_SD, COPIED_SD * overlap) * abs(log_ratio)
        return Ratio(((TRIGRAM_SIZE, tokens[0]), (TRIGRAM_SIZE, tokens[1])), log_ratio, sd)


@dataclass(frozen=True)
class Prior:
    """Mean and sd of theta of ``coupled``: (log E, log A0, log B0, alpha, beta, log p, log R_D*, log R_N*)."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    centre: tuple[float, float] | None = None
    """(N0, D0) to which A0 and B0 belong; None: the geometric means of the points."""
    ratios: tuple[Ratio, ...] = ()
    source: str = "published values"
    """Where the means come from, for messages."""

    def of(self, form: Form) -> tuple[Array, Array]:
        """Mean and sd [P] of a form whose parameters are some of these."""
        index = [_PARAMETERS.index(name) for name in form.parameters]
        return np.array(self.mean)[index], np.array(self.sd)[index]

    def losses(self, at: Columns) -> Array:
        """Nats per token [n] at N, D and U [n] by the mean of a prior that has a ``centre``."""
        assert self.centre is not None
        form = FORMS["coupled"]
        theta = form.rescaled(np.array(self.mean), dict(zip((PARAMS, TOKENS), self.centre, strict=True)))
        return form.loss(theta, at)

    @staticmethod
    def measured(unigram_nats: float, *, drop: Ratio | None = None, rises: Rises = (0.0, 0.0)) -> Prior:
        """For pilots on byte-level BPE text by isoflop's recipe; for the form ``coupled``.

        From the entropy of its tokens (nats per token), where their vocabulary is not ``MEASURED_VOCABULARY`` the
        `rises` of another, and, best, how fast counting learns from it (``drop``). Corpora
        of 2 to 20 M tokens share exponents, coupling and which runs equal each other; their levels differ
        (``benchmarks/levels.py``, docs/log.md).
        """
        each = zip(MEASURED_LEVELS, (rises[0], rises[1], rises[1]), strict=True)
        levels = tuple((math.log(unigram_nats) + rise + mean, sd) for (mean, sd), rise in each)
        pairs = (*levels, *MEASURED_SHAPE, LOG_R_D, MEASURED_R_N)
        return Prior(
            tuple(mean for mean, _ in pairs),
            tuple(sd for _, sd in pairs),
            centre=MEASURED_CENTRE,
            ratios=(Ratio(EQUALS, 0.0, EQUALS_SD), *([drop] if drop else [])),
            source="what isoflop measured on its own benchmark corpora",
        )

    @staticmethod
    def published(lowest_loss: float) -> Prior:
        """The default: published exponents, and levels from the lowest loss measured (nats per token)."""
        level, reducible = math.log(lowest_loss), math.log(REDUCIBLE[0])
        pairs = (
            (level + math.log(IRREDUCIBLE[0]), IRREDUCIBLE[1]),
            (level + reducible, REDUCIBLE[1]),
            (level + reducible, REDUCIBLE[1]),
            ALPHA,
            BETA,
            LOG_P,
            LOG_R_D,
            LOG_R_N,
        )
        return Prior(mean=tuple(mean for mean, _ in pairs), sd=tuple(sd for _, sd in pairs))

    @staticmethod
    def any_text(lowest_loss: float) -> Prior:
        """For pilots on text that need not be like any measured one: what was published, much less certain."""
        mean = Prior.published(lowest_loss).mean
        return Prior(mean, (*ANY_TEXT_SD, LOG_R_D[1], LOG_R_N[1]), source="published values, loosely")

    @staticmethod
    def flat(lowest_loss: float) -> Prior:
        """Almost no prior: the points alone decide what they can decide."""
        return Prior(mean=Prior.published(lowest_loss).mean, sd=(FLAT_SD,) * 8)
