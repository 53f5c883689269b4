"""What copying within the context takes off the loss once it is learnt.

Small transformers learn it abruptly (induction heads: Olsson et al. 2022, arXiv 2209.11895), and the sooner the more
of it there is to learn. No smooth law fitted to pilots that ended before can know: on a corpus of manuals, where 12 %
of the tokens repeat what followed the same two tokens earlier in the window, those tokens' loss was 2.83, 2.69, 1.11,
0.86 and 0.65 nats in studies of 4.3, 4.6, 7.9, 10.9 and 17.6 M tokens (docs/log.md, 11, 12 and 15). On one of books,
where it is 6 %, 18 M tokens taught about a fifth of it (docs/log.md, 15).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from isoflop.core.products import Interval

SCALE, SCALE_SD = 2.0, 0.25
"""A model's gain over the trigrams' (``text/ngrams.py:copy_gain``), and its relative sd; the manuals' studies of 5, 10
and 30 minutes (docs/log.md, 15). Some of it is text that stands in train too."""
ONSET_TOKENS, ONSET_GAIN, ONSET_POWER = 8e6, 0.055, 1.5
"""Half of it is learnt after ``ONSET_TOKENS`` where the gain is ``ONSET_GAIN``, and with a smaller gain later by this
power of their ratio. Two corpora show it, a point each: thin ice."""
ONSET_SD = 0.4
"""Of the logarithm of those tokens."""
STEEPNESS = 4.0
"""In log tokens; from what the manuals' studies of 4.6 to 17.6 M tokens gained beyond their trigrams' drop: 1, 4, 8
and 12 % of the loss (docs/log.md, 15)."""
NEGLIGIBLE = 1e-3
_Z90 = 1.645


@dataclass(frozen=True)
class Copying:
    """How much of a text can be copied, and how far the pilots can have learnt to."""

    gain: float
    """Share of the trigrams' loss that copying saves."""
    pilot_tokens: float
    """Of the longest pilot: what it had learnt by then is in the law."""

    def factor(self, tokens: float) -> Interval:
        """What to multiply the law's loss of a run of ``tokens`` by; 90 % interval."""
        if self.gain < NEGLIGIBLE:
            return Interval(1.0, 1.0, 1.0)
        log_onset = math.log(ONSET_TOKENS) - ONSET_POWER * math.log(self.gain / ONSET_GAIN)
        logs = [self._log_factor(tokens, log_onset + shift * ONSET_SD) for shift in (-_Z90, 0, _Z90)]
        central, of_scale = logs[1], _Z90 * SCALE_SD * logs[1]
        # a later onset usually leaves more of the loss, but more to come where the pilots were near it
        low, high = math.hypot(central - min(logs), of_scale), math.hypot(max(logs) - central, of_scale)
        return Interval(math.exp(central), math.exp(central - low), math.exp(min(central + high, 0.0)))

    def _log_factor(self, tokens: float, log_onset: float) -> float:
        most = min(SCALE * self.gain, 0.8)
        left = [1 - most * _learnt(count, log_onset) for count in (tokens, self.pilot_tokens)]
        return min(0.0, math.log(left[0] / left[1]))


def _learnt(tokens: float, log_onset: float) -> float:
    """Share of copying learnt after ``tokens``: 1 / (1 + (onset / tokens)^steepness)."""
    return 1 / (1 + math.exp(STEEPNESS * (log_onset - math.log(tokens))))
