"""What kind of character a code point is, and what it becomes when texts are compared, as tables for kernels.

The tables cover the Basic Multilingual Plane and come from the interpreter's Unicode database. Beyond it, planes 2 and
3 (rare ideographs) count as letters and all else (emoji, mathematical alphabets) as symbols.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

SPACE, BREAK, ALPHA, WORD, SYMBOL = 1, 2, 4, 8, 16
"""``str.isspace``; a line boundary of ``str.splitlines``; ``str.isalpha``; ``\\w`` of ``re``; punctuation, symbol or
control character (Unicode categories P, S, C)."""
PLANE = 0x10000
_IDEOGRAPHS = 0x20000, 0x40000
_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
REMOVED = 0
"""What a character becomes that comparisons leave out."""


def compiled(function: Callable[..., Any]) -> Any:
    """Compiled at first use, kept on disk, and free of the interpreter's lock."""
    return njit(cache=True, nogil=True)(function)


@cache
def kinds() -> NDArray[np.uint8]:
    """[PLANE]: the kinds of every code point, added up."""
    return np.array([_kind(chr(code)) for code in range(PLANE)], dtype=np.uint8)


@cache
def folded() -> NDArray[np.uint16]:
    """[PLANE]: lower case without accents, every digit as 0, a space for any space, ``REMOVED`` for symbols."""
    return np.array([_folded(chr(code)) for code in range(PLANE)], dtype=np.uint16)


def _kind(character: str) -> int:
    return (
        SPACE * character.isspace()
        | BREAK * (character in _BREAKS)
        | ALPHA * character.isalpha()
        | WORD * (character.isalnum() or character == "_")
        | SYMBOL * (unicodedata.category(character)[0] in "PSC")
    )


def _folded(character: str) -> int:
    if character.isspace():
        return ord(" ")
    if character.isdigit():
        return ord("0")
    base = unicodedata.normalize("NFD", character.lower())[0]
    return REMOVED if unicodedata.category(base)[0] in "PSCM" or ord(base) >= PLANE else ord(base)


@compiled
def code_at(data: NDArray[np.uint8], i: int) -> int:
    """The code point that begins at byte ``i`` of valid UTF-8."""
    first: int = np.int64(data[i])  # type: ignore[assignment]
    if first < 0x80:
        return first
    if first < 0xE0:
        return ((first & 0x1F) << 6) | (data[i + 1] & 0x3F)
    if first < 0xF0:
        return ((first & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F)
    return ((first & 7) << 18) | ((data[i + 1] & 0x3F) << 12) | ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F)


@compiled
def width_of(code: int) -> int:
    """Bytes of a code point in UTF-8."""
    return 1 + (code >= 0x80) + (code >= 0x800) + (code >= PLANE)


@compiled
def kind_of(table: NDArray[np.uint8], code: int) -> int:
    """The kinds of a code point, by ``kinds()``."""
    if code < PLANE:
        return np.int64(table[code])  # type: ignore[return-value]
    return ALPHA | WORD if _IDEOGRAPHS[0] <= code < _IDEOGRAPHS[1] else SYMBOL
