"""C4's rules: of every page the lines that are prose, and no page of which too little is left.

Raffel et al. 2020 (arXiv 1910.10683), sec. 2.2. Left out are their list of bad words, which drops whole subjects (Dodge
et al. 2021, arXiv 2104.08758, sec. 5.3), and repeated runs of three sentences, which are `text.dedup`'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import compiled
from isoflop.text.linewise import line_starts, only_lines
from isoflop.text.sentences import sentences
from isoflop.text.texts import Texts

MIN_LINE_WORDS, MIN_SENTENCES = 5, 3
PHRASES = (
    b"javascript",
    b"terms of use",
    b"privacy policy",
    b"cookie policy",
    b"uses cookies",
    b"use of cookies",
    b"use cookies",
)
"""Of lines that go, in whatever case."""
_CITATION = re.compile(rb"\[(?:\d+|edit|citation needed)\]")
_SPACE = ord(" ")
_STOPS = tuple(b".!?\"'")
_QUOTES = (0x99, 0x9D)
"""Last bytes of U+2019 and U+201D; U+2026, the ellipsis, ends with A6, and all begin with E2 80."""


@dataclass(frozen=True)
class Lines:
    """What is left of documents."""

    documents: list[bytes]
    reasons: list[str | None]
    """Why each is dropped; None where it is kept."""
    num_cut: int
    """Lines."""


def prose(documents: Sequence[bytes]) -> Lines:
    """The lines that end as sentences do, have five words and are no notice of the page's; blank lines stay."""
    cited = [_CITATION.sub(b"", data) if b"[" in data else data for data in documents]
    texts, phrases = Texts.of(cited), Texts.of(PHRASES)
    starts = line_starts(texts)
    stays = np.zeros(len(starts) - 1, dtype=np.bool_)
    _judge(texts.data, starts, phrases.data, phrases.offsets, stays)
    left = list(only_lines(texts, starts, stays))
    reasons = [_reason(before, after) for before, after in zip(cited, left, strict=True)]
    return Lines(left, reasons, int((~stays).sum()))


def _reason(before: bytes, after: bytes) -> str | None:
    if not before.strip():
        return None  # there was nothing to judge
    if b"{" in before:
        return "c4_brace"
    if b"lorem ipsum" in before.lower():
        return "c4_lorem_ipsum"
    num_sentences = sum(1 for _ in islice(sentences(after.decode()), MIN_SENTENCES))
    return None if num_sentences == MIN_SENTENCES else "c4_few_sentences"


@compiled
def _judge(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    phrases: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    stays: NDArray[np.bool_],
) -> None:
    for line in range(len(stays)):
        stays[line] = _is_prose(data, starts[line], starts[line + 1], phrases, bounds)


@compiled
def _is_prose(
    data: NDArray[np.uint8], start: int, end: int, phrases: NDArray[np.uint8], bounds: NDArray[np.int64]
) -> bool:
    while end > start and data[end - 1] <= _SPACE:
        end -= 1
    if end == start:
        return True
    num_words, inside = 0, False
    for i in range(start, end):
        num_words += data[i] > _SPACE and not inside
        inside = data[i] > _SPACE
    return num_words >= MIN_LINE_WORDS and _is_ended(data, start, end) and not _holds(data, start, end, phrases, bounds)


@compiled
def _is_ended(data: NDArray[np.uint8], start: int, end: int) -> bool:
    """By a mark or a closing quotation, and no ellipsis."""
    if end - start >= 3 and data[end - 3] == 0xE2 and data[end - 2] == 0x80:
        return data[end - 1] in _QUOTES
    trails_off = end - start >= 3 and data[end - 3] == data[end - 2] == data[end - 1] == _STOPS[0]
    return data[end - 1] in _STOPS and not trails_off


@compiled
def _holds(
    data: NDArray[np.uint8], start: int, end: int, phrases: NDArray[np.uint8], bounds: NDArray[np.int64]
) -> bool:
    for i in range(start, end):
        for p in range(len(bounds) - 1):
            length = bounds[p + 1] - bounds[p]
            k = 0
            while k < length and i + k < end and _lower(data[i + k]) == phrases[bounds[p] + k]:
                k += 1
            if k == length:
                return True
    return False


@compiled
def _lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte
