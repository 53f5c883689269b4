"""What kind of character a code point is, and what it becomes when texts are compared, as tables for kernels.

The tables cover the Basic Multilingual Plane and come from the interpreter's Unicode database. Beyond it, planes 2 and
3 (rare ideographs) count as letters and all else (emoji, mathematical alphabets) as symbols.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from unicodedata import category, normalize

import numpy as np
from numba import njit
from numba.core import entrypoints
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

SPACE, BREAK, ALPHA, WORD, SYMBOL = 1, 2, 4, 8, 16
"""``str.isspace``; a line boundary of ``str.splitlines``; ``str.isalpha``; ``\\w`` of ``re``; punctuation, symbol or
control character (Unicode categories P, S, C)."""
PLANE = 0x10000
_IDEOGRAPHS = 0x20000, 0x40000
_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
entrypoints._already_initialized = True
"""Or numba would import what other packages add to it, such as awkward: .4 s, for nothing that is used here."""
REMOVED = 0
"""What a character becomes that comparisons leave out."""


def compiled(function: Callable[..., Any]) -> Any:
    """Compiled at first use, kept on disk, and free of the interpreter's lock.

    What is kept is held against the function's own file alone: after a change of one that others call, ``make clean``.
    """
    return njit(cache=True, nogil=True)(function)


def lean(function: Callable[..., Any]) -> Any:
    """As `compiled`, for what makes no arrays, and says so if it does: references to those it is given are not counted,
    one by one and atomically, which for a helper takes longer than its work."""
    return njit(cache=True, nogil=True, _nrt=False)(function)  # type: ignore[call-overload]


@cache
def kinds() -> NDArray[np.uint8]:
    """[PLANE]: the kinds of every code point, added up."""
    characters = [chr(code) for code in range(PLANE)]
    found = SPACE * np.fromiter(map(str.isspace, characters), np.uint8, PLANE)
    found |= ALPHA * np.fromiter(map(str.isalpha, characters), np.uint8, PLANE)
    found |= WORD * np.fromiter(map(str.isalnum, characters), np.uint8, PLANE)
    found |= SYMBOL * _is_symbol(characters)
    found[ord("_")] |= WORD
    found[[ord(character) for character in _BREAKS]] |= BREAK
    return found


@cache
def folded() -> NDArray[np.uint16]:
    """[PLANE]: lower case without accents, every digit as 0, a space for any space, ``REMOVED`` for symbols."""
    characters = [chr(code) for code in range(PLANE)]
    bases = [normalize("NFD", character)[0] for character in map(str.lower, characters)]
    found = np.fromiter(map(ord, bases), np.int64, PLANE)
    found[(found >= PLANE) | (_is_symbol(bases, "PSCM") > 0)] = REMOVED
    found[np.fromiter(map(str.isdigit, characters), np.bool_, PLANE)] = ord("0")
    found[np.fromiter(map(str.isspace, characters), np.bool_, PLANE)] = ord(" ")
    return found.astype(np.uint16)


def _is_symbol(characters: list[str], kinds: str = "PSC") -> NDArray[np.uint8]:
    """[characters]: 1 for those whose Unicode category begins with one of ``kinds``."""
    return np.fromiter((category(character)[0] in kinds for character in characters), np.uint8, len(characters))


@lean
def character_at(data: NDArray[np.uint8], i: int) -> tuple[int, int]:
    """The code point that begins at byte ``i`` of valid UTF-8, and where the next one does."""
    first: int = np.int64(data[i])  # type: ignore[assignment]
    if first < 0x80:
        return first, i + 1
    if first < 0xE0:
        return ((first & 0x1F) << 6) | (data[i + 1] & 0x3F), i + 2
    if first < 0xF0:
        return ((first & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F), i + 3
    high = ((first & 7) << 18) | ((data[i + 1] & 0x3F) << 12)
    return high | ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F), i + 4


@compiled
def kind_of(table: NDArray[np.uint8], code: int) -> int:
    """The kinds of a code point, by ``kinds()``."""
    if code < PLANE:
        return np.int64(table[code])  # type: ignore[return-value]
    return ALPHA | WORD if _IDEOGRAPHS[0] <= code < _IDEOGRAPHS[1] else SYMBOL
