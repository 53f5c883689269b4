"""Texts as they were meant: encodings mended where visibly broken, control characters gone, split words joined.

Nothing is rewritten that might be right: each repair needs a mark of the damage it mends.
"""

from __future__ import annotations

import re
from collections import Counter

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufeff\ufffe\uffff]")
"""Control characters but tabs, line ends and separators; byte-order marks inside a text."""
_RETURNS = re.compile(r"\r\n?")
_SPLIT_WORD = re.compile(r"(?<![\w\-])([^\W\d_]{2,})-\n[ \t]*([a-z][^\W\d_]+)\b")
_MOJIBAKE = re.compile(r"[ÃÂ][\x80-\xbf\u0152-\u2122]|â€|ï»¿|Ð[\x80-\xbf°±²³´µ¶·¸¹º»¼½¾¿]")
"""UTF-8 read as Latin-1 or Windows-1252: a lead byte's letter before a continuation byte's."""
_LEADS = "ÃÂâïÐ"
"""What every mark begins with; to look for five letters is faster than for the marks."""
_BROKEN_ENCODINGS = ("cp1252", "latin-1")


def clean(text: str) -> tuple[str, Counter[str]]:
    """The text with line ends, mojibake, control characters and words split at line ends mended, and counts by kind."""
    counts: Counter[str] = Counter()
    text, counts["line_ends"] = _RETURNS.subn("\n", text)
    removed = 1
    while removed:  # what stood around a control character may be a mark of damage together
        if any(lead in text for lead in _LEADS) and _MOJIBAKE.search(text):
            mended = unbroken(text)
            counts["mojibake"] |= int(mended != text)
            text = mended
        text, removed = _CONTROL.subn("", text)
        counts["control_characters"] += removed
    if "-\n" in text:
        text, counts["split_words"] = joined(text)
    return text, +counts


def unbroken(text: str) -> str:
    """``text`` decoded as it should have been, line by line; a line stays as it is where that cannot be.

    A text may have been broken more than once; each round takes one away and must leave fewer marks.
    """
    return "\n".join(_unbroken_line(line) for line in text.split("\n"))


def joined(text: str) -> tuple[str, int]:
    """``text`` with words joined that a hyphen splits at a line's end, and how many were.

    The hyphen stays where the text writes the word with it elsewhere and never without.
    """
    count = 0

    def whole(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        plain, hyphened = match[1] + match[2], f"{match[1]}-{match[2]}"
        return hyphened if hyphened in text and plain not in text else plain

    return _SPLIT_WORD.sub(whole, text), count


def _unbroken_line(line: str) -> str:
    while marks := len(_MOJIBAKE.findall(line)):
        better = [fixed for name in _BROKEN_ENCODINGS if (fixed := _redecoded(line, name)) is not None]
        best = min(better, key=lambda fixed: len(_MOJIBAKE.findall(fixed)), default=line)
        if len(_MOJIBAKE.findall(best)) >= marks:
            break
        line = best
    return line


def _redecoded(line: str, encoding: str) -> str | None:
    """The line's bytes in ``encoding`` read as UTF-8; None where that is impossible."""
    try:
        return b"".join(_byte(character, encoding) for character in line).decode()
    except UnicodeError:
        return None


def _byte(character: str, encoding: str) -> bytes:
    """Of a character that ``encoding`` has, or the byte of that number: Windows leaves five of them out."""
    try:
        return character.encode(encoding)
    except UnicodeEncodeError:
        if ord(character) > 0xFF:
            raise
        return bytes([ord(character)])
