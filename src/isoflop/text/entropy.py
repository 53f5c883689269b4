"""Text whose entropy is known: words drawn from a Markov chain, as many as one likes.

The floor of a scaling law fitted to models of a real text cannot be checked: nobody knows the entropy of English. Here
every word depends on the two before it through one of ``num_states`` rows of probabilities, a document starts in state
0 and ends after each word with probability q, and the entropy rate

    h = - sum_s pi(s) sum_w P(w | s) ln P(w | s) - q ln q - (1 - q) ln (1 - q)    nats per word

is exact: pi is the stationary distribution of the chain with its restarts (Shannon 1948, sec. 7; Cover & Thomas 2006,
th. 4.2.4). Rows are Zipf distributions over their own order of the words, of sharpness that differs between them: some
states are learnt from a few examples and some from many, so that losses fall along a power law as they do for text.
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
ZIPF_LOW, ZIPF_HIGH = 1.0, 2.2
"""Exponents of the rows' Zipf distributions are spread evenly between these."""


@dataclass(frozen=True)
class MarkovText:
    """A language of ``num_words`` words in which the next depends on a state of the last two."""

    num_words: int = 2000
    num_classes: int = 24
    """Words fall into classes; the state is the pair of the last two words' classes."""
    seed: int = 0

    @property
    def num_states(self) -> int:
        return self.num_classes**2

    def documents(self, num_documents: int, *, seed: int = 1) -> Iterator[str]:
        """Documents of geometrically distributed lengths."""
        rng = np.random.default_rng(seed)
        rows = np.cumsum(self.probabilities, axis=1).tolist()
        for length in rng.geometric(1 / WORDS_PER_DOCUMENT, num_documents):
            words, state = [], 0
            for draw in rng.random(length).tolist():
                word = min(bisect.bisect(rows[state], draw), self.num_words - 1)
                words.append(self.words[word])
                state = self.next_state(state, word)
            yield " ".join(words) + "\n"

    def next_state(self, state: int, word: int) -> int:
        """The last class moves on, the new word's class follows it."""
        return state % self.num_classes * self.num_classes + self.word_class[word]

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
    def word_class(self) -> list[int]:
        """Of each word."""
        return np.random.default_rng(self.seed + 1).integers(0, self.num_classes, self.num_words).tolist()

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """[num_states, num_words]: of the next word."""
        rng = np.random.default_rng(self.seed + 2)
        ranks = np.argsort(rng.random((self.num_states, self.num_words)), axis=1) + 1.0
        exponents = rng.permutation(np.linspace(ZIPF_LOW, ZIPF_HIGH, self.num_states))
        weights = ranks ** -exponents[:, None]
        result: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
        return result

    @cached_property
    def stationary(self) -> NDArray[np.float64]:
        """[num_states]: how often a word is drawn in each state; left eigenvector of the transitions with restarts."""
        by_class = np.zeros((self.num_states, self.num_classes))
        np.add.at(by_class.T, self.word_class, self.probabilities.T)
        transitions = np.zeros((self.num_states, self.num_states))
        for last in range(self.num_classes):
            for new in range(self.num_classes):
                rows = np.arange(self.num_states) % self.num_classes == last
                transitions[rows, last * self.num_classes + new] = by_class[rows, new]
        stop = 1 / WORDS_PER_DOCUMENT
        share = np.zeros(self.num_states)
        for _ in range(1000):
            share = (1 - stop) * share @ transitions
            share[0] += 1 - share.sum()
        return share

    @cached_property
    def nats_per_word(self) -> float:
        """The entropy rate h; the state is known from the words, so it is that of the text."""
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
