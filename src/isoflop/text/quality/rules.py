"""The published quality rules, as thresholds on a document's statistics; the first that fails is the reason kept.

Thresholds and their order are those of the papers as datatrove reads them (its filters at 0.10), so that decisions can
be compared one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Statistics = NDArray[np.void]
Failures = Mapping[str, NDArray[np.bool_]]


class Rules(Protocol):
    """A family of rules."""

    def failures(self, found: Statistics) -> Failures:
        """By reason, in the order in which they are asked: which documents [n] fail."""
        ...


@dataclass(frozen=True)
class GopherQuality:
    """Rae et al. 2021 (arXiv 2112.11446), table A1."""

    min_words: int = 50
    max_words: int = 100_000
    min_word_chars: float = 3.0
    max_word_chars: float = 10.0
    max_symbols_per_word: float = 0.1
    max_bulleted: float = 0.9
    max_trailing_off: float = 0.3
    min_alphabetic: float = 0.8
    min_stop_words: int = 2

    def failures(self, found: Statistics) -> Failures:
        chars = _share(found["worded_chars"], found["num_worded"])
        return {
            "gopher_short": found["num_worded"] < self.min_words,
            "gopher_long": found["num_worded"] > self.max_words,
            "gopher_short_words": chars < self.min_word_chars,
            "gopher_long_words": chars > self.max_word_chars,
            "gopher_hashes": _share(found["num_hashes"], found["num_words"]) > self.max_symbols_per_word,
            "gopher_ellipses": _share(found["num_ellipses"], found["num_words"]) > self.max_symbols_per_word,
            "gopher_bullets": _share(found["num_bulleted"], found["num_lines"]) > self.max_bulleted,
            "gopher_trailing_off": _share(found["num_trailing_off"], found["num_lines"]) > self.max_trailing_off,
            "gopher_few_letters": _share(found["num_alphabetic"], found["num_words"]) < self.min_alphabetic,
            "gopher_stop_words": found["num_stop_words"] < self.min_stop_words,
        }


@dataclass(frozen=True)
class GopherRepetition:
    """The same, table A1: repeated lines, paragraphs and word runs, as shares of the characters."""

    max_repeated_lines: float = 0.3
    max_repeated_paragraphs: float = 0.3
    max_repeated_line_chars: float = 0.2
    max_repeated_paragraph_chars: float = 0.2
    max_top: Sequence[tuple[int, float]] = ((2, 0.2), (3, 0.18), (4, 0.16))
    max_repeated: Sequence[tuple[int, float]] = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))

    def failures(self, found: Statistics) -> Failures:
        chars = found["num_chars"]
        pairs = [
            ("paragraphs", found["num_repeated_paragraphs"], found["num_paragraphs"], self.max_repeated_paragraphs),
            ("paragraph_chars", found["repeated_paragraph_chars"], chars, self.max_repeated_paragraph_chars),
            ("lines", found["num_repeated_lines"], found["num_solid_lines"], self.max_repeated_lines),
            ("line_chars", found["repeated_line_chars"], chars, self.max_repeated_line_chars),
            *((f"top_{n}", found[f"top_{n}"], chars, most) for n, most in self.max_top),
            *((f"runs_of_{n}", found[f"repeated_{n}"], chars, most) for n, most in self.max_repeated),
        ]
        return {f"repeated_{name}": _share(part, whole) > most for name, part, whole, most in pairs}


@dataclass(frozen=True)
class FineWeb:
    """Penedo et al. 2024 (arXiv 2406.17557), sec. 3.6."""

    min_punctuated: float = 0.12
    max_short: float = 0.67
    max_repeated_chars: float = 0.01
    max_newlines_per_word: float = 0.3

    def failures(self, found: Statistics) -> Failures:
        num_lines = found["num_newlines"] + 1
        repeated = _share(found["repeated_nonblank_chars"], found["num_chars"] - found["num_newlines"])
        return {
            "fineweb_unpunctuated": _share(found["num_punctuated"], num_lines) <= self.min_punctuated,
            "fineweb_short_lines": _share(found["num_short"], num_lines) >= self.max_short,
            "fineweb_repeated_lines": repeated >= self.max_repeated_chars,
            "fineweb_list": _share(found["num_newlines"], found["num_words"]) > self.max_newlines_per_word,
        }


def reasons(families: Sequence[Rules], found: Statistics) -> NDArray[np.object_]:
    """[documents]: the first reason each fails by, over the families in order; None where it passes all."""
    result, passed = np.full(len(found), None, dtype=object), np.ones(len(found), dtype=bool)
    for family in families:
        for reason, fails in family.failures(found).items():
            result[fails & passed] = reason
            passed &= ~fails
    return result


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """A ratio [n]; of nothing it is not a number, which fails no rule but those of counts."""
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float64] = part / whole
    return result
