"""Text whose entropy is known: words drawn from a Markov chain, as many as one likes.

The floor of a scaling law fitted to models of a real text cannot be checked: nobody knows the entropy of English. Here
every word has a row of probabilities for the next, a document starts after word 0 and ends after each word with
probability q, and the entropy rate

    h = - sum_s pi(s) sum_w P(w | s) ln P(w | s) - q ln q - (1 - q) ln (1 - q)    nats per word

is exact: pi is the stationary distribution of the chain with its restarts (Shannon 1948, sec. 7; Cover & Thomas 2006,
th. 4.2.4).

P(w | s) goes with the popularity 1 / rank of w times a factor drawn for the pair, log-normal with a spread that differs
between rows. Contexts are therefore met at frequencies over several decades and some are learnt from a few examples,
some from many: losses fall gradually, in tokens and in parameters, as they do for text (Michaud et al. 2023, arXiv
2303.13506). A chain of few states with common structure is learnt at one stroke instead, and no power law fits that
(docs/log.md, 17).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
WORDS_PER_DOCUMENT = 400
"""In the mean: 1 / q."""
SPREAD_LOW, SPREAD_HIGH = 2.0, 5.0
"""Sd of a row's log factors: evenly between these over the rows."""


@dataclass(frozen=True)
class MarkovText:
    """A language of ``num_words`` words, each of which says how likely every next one is."""

    num_words: int = 500
    seed: int = 0

    def documents(self, num_documents: int, *, seed: int = 1) -> Iterator[str]:
        """Documents of geometrically distributed lengths."""
        rng = np.random.default_rng(seed)
        rows = np.cumsum(self.probabilities, axis=1).tolist()
        for length in rng.geometric(1 / WORDS_PER_DOCUMENT, num_documents):
            words, word = [], 0
            for draw in rng.random(length).tolist():
                word = min(bisect.bisect(rows[word], draw), self.num_words - 1)
                words.append(self.words[word])
            yield " ".join(words) + "\n"

    @cached_property
    def words(self) -> list[str]:
        """Distinct words of one to three syllables, each of a consonant and a vowel."""
        rng = np.random.default_rng(self.seed)
        found: dict[str, None] = {}
        while len(found) < self.num_words:
            syllables = rng.integers(1, 4)
            letters = [rng.choice(list(part)) for _ in range(syllables) for part in (CONSONANTS, VOWELS)]
            found["".join(letters)] = None
        return list(found)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """[words, words]: of the next word, by the one before."""
        rng = np.random.default_rng(self.seed + 2)
        spread = rng.permutation(np.linspace(SPREAD_LOW, SPREAD_HIGH, self.num_words))
        factors = np.exp(spread[:, None] * rng.standard_normal((self.num_words, self.num_words)))
        weights = factors / np.arange(1, self.num_words + 1)
        result: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
        return result

    @cached_property
    def stationary(self) -> NDArray[np.float64]:
        """[words]: how often each is the one before; left eigenvector of the transitions with restarts."""
        stop, share = 1 / WORDS_PER_DOCUMENT, np.full(self.num_words, 1 / self.num_words)
        for _ in range(300):
            share = (1 - stop) * share @ self.probabilities
            share[0] += 1 - share.sum()
        return share

    @cached_property
    def nats_per_word(self) -> float:
        """The entropy rate h."""
        rows = -(self.probabilities * np.log(self.probabilities)).sum(axis=1)
        stop = 1 / WORDS_PER_DOCUMENT
        return float(self.stationary @ rows) - stop * math.log(stop) - (1 - stop) * math.log1p(-stop)

    @cached_property
    def bytes_per_word(self) -> float:
        """Expected bytes of a word and the space (or line end) behind it."""
        frequency = self.stationary @ self.probabilities
        return float(frequency @ np.array([len(word) + 1 for word in self.words]))

    @property
    def bits_per_byte(self) -> float:
        """The entropy rate in the unit in which models of different tokenizers are compared."""
        return self.nats_per_word / math.log(2) / self.bytes_per_word
