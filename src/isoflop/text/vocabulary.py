"""What cutting a text into more kinds of words does to it: fewer tokens a byte, each of them harder to guess."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from isoflop.text.document import Documents
from isoflop.text.encode import encoder_of
from isoflop.text.tokenizer import END_OF_TEXT_ID, SMALLEST_VOCAB, parse_tokenizer, sample

SIZES = (4_096, 8_192, 16_384, 32_768)
"""What a vocabulary may have where the text is large enough to choose; beyond 8,192 what it brings is extrapolated."""
LEAST_BYTES = 5_000_000
"""Of a text whose vocabulary is chosen by prediction; below, rare words are read too seldom to be learnt."""
_SAMPLE_BYTES = 1_000_000


@dataclass(frozen=True)
class Cut:
    """A text in tokens of a vocabulary."""

    vocab_size: int
    tokens_per_byte: float
    unigram_nats: float
    """Entropy of the tokens' frequencies, nats per token."""


def smaller(tokenizer: Tokenizer, vocab_size: int) -> Tokenizer:
    """The tokenizer of the first ``vocab_size`` ids of one of ours: what training for so few would have given.

    Byte-pair encoding finds its merges one after another, whatever their number.
    """
    specification = json.loads(tokenizer.to_str())
    model = specification["model"]
    model["merges"] = model["merges"][: vocab_size - SMALLEST_VOCAB]
    model["vocab"] = {token: index for token, index in model["vocab"].items() if index < vocab_size}
    return parse_tokenizer(json.dumps(specification))


def cuts(tokenizer: Tokenizer, documents: Documents) -> list[Cut]:
    """A sample of 1 MB of the documents by each of ``SIZES`` that the tokenizer has."""
    pieces = [piece.encode() for piece in sample(documents, _SAMPLE_BYTES)]
    sizes = [size for size in SIZES if size <= tokenizer.get_vocab_size()]
    return [_cut(smaller(tokenizer, size), pieces) for size in sizes]


def _cut(tokenizer: Tokenizer, pieces: list[bytes]) -> Cut:
    """With Miller's (1955) correction of an entropy by a sample: half a nat a token for every kind that was seen."""
    ids = np.concatenate(encoder_of(tokenizer.to_str(), fast=True)(pieces))
    ids = ids[ids != END_OF_TEXT_ID]
    counts = np.bincount(ids)
    entropy = entropy_of(counts) + (np.count_nonzero(counts) - 1) / (2 * len(ids))
    return Cut(tokenizer.get_vocab_size(), len(ids) / sum(map(len, pieces)), entropy)


def entropy_of(counts: NDArray[np.int64]) -> float:
    """Nats per token of the frequencies of tokens that occur so often [V]."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
