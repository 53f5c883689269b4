"""The lines of many documents as spans of one buffer: judged one by one, then some of them left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import compiled
from isoflop.text.texts import Texts

_LINE_FEED = ord("\n")


def line_starts(texts: Texts) -> NDArray[np.int64]:
    """[lines + 1]: where each line begins, of all documents one after the other, and where the last ends.

    A line ends behind its line feed, or with its document; an empty document has none.
    """
    starts = np.empty(int((texts.data == _LINE_FEED).sum()) + len(texts) + 1, dtype=np.int64)
    count = int(_starts(texts.data, texts.offsets, starts))
    return starts[: count + 1]


def owners(texts: Texts, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """[lines]: the document of each."""
    found: NDArray[np.int64] = np.searchsorted(texts.offsets, starts[:-1], side="right") - 1
    return found


def only_lines(texts: Texts, starts: NDArray[np.int64], stays: NDArray[np.bool_]) -> Texts:
    """The documents with those lines alone that stay [lines]."""
    data, offsets = np.empty_like(texts.data), np.zeros(len(texts) + 1, dtype=np.int64)
    _copy(texts.data, texts.offsets, starts, stays, data, offsets)
    return Texts(data, offsets)


@compiled
def _starts(data: NDArray[np.uint8], offsets: NDArray[np.int64], starts: NDArray[np.int64]) -> int:
    count, start = 0, offsets[0]
    for d in range(len(offsets) - 1):
        for i in range(offsets[d], offsets[d + 1]):
            if data[i] == _LINE_FEED or i + 1 == offsets[d + 1]:
                starts[count] = start
                count, start = count + 1, i + 1
    starts[count] = start
    return count


@compiled
def _copy(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    starts: NDArray[np.int64],
    stays: NDArray[np.bool_],
    out: NDArray[np.uint8],
    out_offsets: NDArray[np.int64],
) -> None:
    line, end = 0, 0
    for d in range(len(offsets) - 1):
        while line < len(stays) and starts[line] < offsets[d + 1]:
            if stays[line]:
                length = starts[line + 1] - starts[line]
                out[end : end + length] = data[starts[line] : starts[line + 1]]
                end += length
            line += 1
        out_offsets[d + 1] = end
