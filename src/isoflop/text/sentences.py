"""Sentences by rules: marks that end them, what may stand before and after, and abbreviations that do not.

For languages that put spaces between words and for Chinese and Japanese. No model; a blank line always ends a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_END = re.compile(
    r"(?P<mark>[.!?…]+)(?P<closing>[\"'”’»)\]]*)\s+(?=[\"'“‘«„(\[¿¡–—-]*(?P<next>\w))"
    r"|[。！？]+[」』”）]*"
    r"|\n[ \t]*\n\s*"
)
_LAST_WORD = re.compile(r"(?:[^\W\d_]|[.'’])+$")
_LONGEST_ABBREVIATION = 12
ABBREVIATIONS = frozenset(
    (  # noqa: SIM905 (a literal of a hundred lines reads worse)
        "mr mrs ms dr prof st rev hon gen col capt lt sgt gov sen rep pres jr sr messrs mt ft "  # English titles
        "vs etc e.g i.e cf al approx dept est fig figs no nos vol vols pp ch sec eq ed eds inc ltd co corp bros "
        "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun a.m p.m u.s u.k "
        "z.b d.h u.a bzw usw ca nr abs art bd hr fr str evtl ggf vgl sog inkl exkl zzgl dipl ing "  # German
        "m mm mme mlle mgr p.ex c.-à-d env "  # French
        "sra srta dña ej pág núm ee.uu "  # Spanish
        "sig sigg dott ecc pag es "  # Italian
        "exmo exma dra ltda "  # Portuguese
        "dhr mw mevr bijv enz o.a d.w.z blz"  # Dutch
    ).split()
)
"""Words that a full stop follows without ending the sentence, in lower case, without the last stop."""


def sentences(text: str) -> Iterator[str]:
    """The sentences of ``text`` in order, without the space around them; together they hold all its words."""
    start = 0
    for match in _END.finditer(text):
        if match["mark"] and not _ends(match, text[max(start, match.start() - _LONGEST_ABBREVIATION) : match.start()]):
            continue
        if sentence := text[start : match.end()].strip():
            yield sentence
        start = match.end()
    if sentence := text[start:].strip():
        yield sentence


def _ends(match: re.Match[str], before: str) -> bool:
    """Whether a mark ends the sentence: a full stop not before a small letter nor behind an abbreviation or initial; a
    question or exclamation before a small letter only where no quotation closes with it."""
    asks = match["mark"][-1] in "!?"
    if match["next"].islower():
        return asks and not match["closing"]
    word = _LAST_WORD.search(before)
    if asks or len(match["mark"]) > 1 or word is None:
        return True
    last = word[0].lower()
    return last not in ABBREVIATIONS and not (len(last) == 1 and word[0].isupper())
