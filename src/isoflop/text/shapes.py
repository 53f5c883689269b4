"""What a text may hold of numbers, addresses and keys: one compiled pass over its bytes spares the regular expressions.

Every shape is wider than what `pii` looks for, so a text without it has none of that; most texts have no shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoflop.text.characters import compiled
from isoflop.text.texts import Texts

IP4, IP6, CARD, SSN, PHONE, IBAN, KEY, EMAIL, PLUS = (1 << bit for bit in range(9))
ALL = (1 << 9) - 1
KEYS = (
    *("AKIA", "ASIA", "AIza", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "eyJ"),
    *("sk-", "sk_live_", "sk_test_", "rk_live_", "rk_test_", "hf_"),
)
"""How keys begin."""
_ZERO, _NINE, _UPPER_A, _UPPER_Z, _LOWER_A, _LOWER_Z = map(ord, "09AZaz")
_SPACE, _DOT, _DASH, _COLON, _CLOSE, _AT, _PLUS, _PERCENT, _UNDERSCORE = map(ord, " .-:)@+%_")
_OTHER = 0
"""A gap between runs of digits that joins nothing."""
_CARD_DIGITS, _IBAN_REST = 13, 10


def shapes(texts: Texts) -> NDArray[np.uint16]:
    """[documents]: the shapes each has, added up."""
    found = np.zeros(len(texts), dtype=np.uint16)
    keys = Texts.of([key.encode() for key in KEYS])
    firsts = np.zeros(256, dtype=np.bool_)
    firsts[keys.data[keys.offsets[:-1]]] = True
    _shapes(texts.data, texts.offsets, keys.data, keys.offsets, firsts, found)
    return found


@compiled
def _shapes(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    keys: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    firsts: NDArray[np.bool_],
    found: NDArray[np.uint16],
) -> None:
    for d in range(len(found)):
        found[d] = _numbers(data, offsets[d], offsets[d + 1])
        found[d] |= _words(data, offsets[d], offsets[d + 1], keys, bounds, firsts)


@compiled
def _words(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    keys: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    firsts: NDArray[np.bool_],
) -> int:
    """Beginnings of keys where a word begins, signs between words, and plus signs before a digit."""
    found, inside = 0, False
    for i in range(start, end):
        byte = data[i]
        if firsts[byte] and not inside and not found & KEY and _begins_key(data, i, end, keys, bounds):
            found |= KEY
        if byte == _AT and i > start and i + 1 < end and _is_local(data[i - 1]) and _is_alphanumeric(data[i + 1]):
            found |= EMAIL
        if byte == _PLUS and i + 1 < end and _is_digit(data[i + 1]):
            found |= PLUS
        inside = _is_alphanumeric(byte) or byte in (_UNDERSCORE, _DASH)
    return found


@compiled
def _begins_key(data: NDArray[np.uint8], i: int, end: int, keys: NDArray[np.uint8], bounds: NDArray[np.int64]) -> bool:
    for k in range(len(bounds) - 1):
        length, same = bounds[k + 1] - bounds[k], 0
        while same < length and i + same < end and data[i + same] == keys[bounds[k] + same]:
            same += 1
        if same == length:
            return True
    return False


@compiled
def _numbers(data: NDArray[np.uint8], start: int, end: int) -> int:
    """Follows the runs of digits: their lengths, what stands between them, and how long chains of them are."""
    found, run, last, before, gap_before, octets, digits = 0, 0, 0, 0, _OTHER, 0, 0
    stop = start - 9  # behind the last run
    for i in range(start, end + 1):
        if i < end and _ZERO <= data[i] <= _NINE:
            run += 1
            continue
        if run:
            begin = i - run
            gap = _gap(data, stop, begin)
            octets = (octets + 1 if gap == _DOT else 1) if run <= 3 else 0
            digits = run + (digits if gap in (_SPACE, _DASH) else 0)
            if octets >= 4:
                found |= IP4
            if digits >= _CARD_DIGITS:
                found |= CARD
            if run == 4 and last == 2 and before == 3 and gap == _DASH and gap_before == _DASH:
                found |= SSN
            if run == 4 and last == 3 and before == 3 and _OTHER not in (gap, gap_before):
                found |= PHONE
            if run >= 2 and not found & IBAN and _begins_iban(data, start, begin, end):
                found |= IBAN
            before, last, gap_before, stop, run = last, run, gap, i, 0
        if i < end and data[i] == _COLON and not found & IP6 and _ends_hextet(data, start, i):
            found |= IP6
    return found


@compiled
def _gap(data: NDArray[np.uint8], stop: int, begin: int) -> int:
    """What stands between two runs: a dot, dash, space or closing bracket (with a space or not), or something else."""
    if begin - stop == 1 or (begin - stop == 2 and data[stop] == _CLOSE and data[stop + 1] == _SPACE):
        character: int = np.int64(data[stop])  # type: ignore[assignment]
        if character in (_DOT, _DASH, _SPACE, _CLOSE):
            return character
    return _OTHER


@compiled
def _begins_iban(data: NDArray[np.uint8], start: int, begin: int, end: int) -> bool:
    """Two capitals before the digits, and with them enough capitals and digits behind, spaces left out."""
    if begin - start < 2 or not (_is_capital(data[begin - 1]) and _is_capital(data[begin - 2])):
        return False
    count, i = 0, begin
    while i < end and count < _IBAN_REST and (_is_capital(data[i]) or _is_digit(data[i]) or data[i] == _SPACE):
        count += data[i] != _SPACE
        i += 1
    return count >= _IBAN_REST


@compiled
def _ends_hextet(data: NDArray[np.uint8], start: int, i: int) -> bool:
    """Four hexadecimal digits before the colon, the first a 2 or 3: all addresses that were ever given out begin so."""
    if i - start < 4 or not (data[i - 4] == _ZERO + 2 or data[i - 4] == _ZERO + 3):
        return False
    for j in range(i - 3, i):
        lower = data[j] | 32
        if not (_is_digit(data[j]) or _LOWER_A <= lower <= _LOWER_A + 5):
            return False
    return True


@compiled
def _is_local(byte: int) -> bool:
    """Of what may stand before the sign of an address: letters beyond ASCII too."""
    return _is_alphanumeric(byte) or byte >= 0x80 or byte in (_DOT, _DASH, _PLUS, _PERCENT, _UNDERSCORE)


@compiled
def _is_alphanumeric(byte: int) -> bool:
    return _is_digit(byte) or _LOWER_A <= byte | 32 <= _LOWER_Z


@compiled
def _is_capital(byte: int) -> bool:
    return _UPPER_A <= byte <= _UPPER_Z


@compiled
def _is_digit(byte: int) -> bool:
    return _ZERO <= byte <= _NINE
