"""What is done to every document by itself: repaired, redacted, judged. One batch at a time; kernels see it whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from isoflop.core.errors import TextError
from isoflop.text.clean import clean
from isoflop.text.pii import redact
from isoflop.text.quality.rules import FineWeb, GopherQuality, GopherRepetition, Rules, reasons
from isoflop.text.quality.statistics import WordRule, statistics
from isoflop.text.shapes import shapes
from isoflop.text.texts import Texts

FAMILIES: dict[str, Rules] = {
    "gopher-quality": GopherQuality(max_words=1 << 62),
    "gopher-repetition": GopherRepetition(),
    "fineweb": FineWeb(),
}
"""Rules by name. Gopher's limit of 100,000 words is for pages of the web; a person's own text has whole books."""
USUAL = ("gopher-quality", "gopher-repetition")
"""Unless others are asked for. FineWeb's are for pages too: they drop lists, verse and texts with hard line ends."""


@dataclass(frozen=True)
class Refinement:
    """What is asked for."""

    rules: tuple[str, ...] = USUAL
    word_rule: WordRule = "whitespace"
    redacts: bool = True


@dataclass(frozen=True)
class Refined:
    """One document afterwards."""

    data: bytes
    reason: str | None
    """Why it is dropped; None where it is kept."""


def families(names: Sequence[str]) -> list[Rules]:
    """The rules of these names. Raises `TextError` for an unknown one."""
    for name in names:
        if name not in FAMILIES:
            raise TextError(f"no rules named {name!r}", where="--rules", remedy=f"Use {', '.join(FAMILIES)} or none")
    return [FAMILIES[name] for name in names]


def refine(batch: Sequence[bytes], how: Refinement) -> tuple[list[Refined], Counter[str], Counter[str]]:
    """The documents (UTF-8) one by one, and how much was mended and redacted, by kind."""
    mended: Counter[str] = Counter()
    redacted: Counter[str] = Counter()
    texts = []
    for data in batch:
        text, counts = clean(data.decode())
        mended += counts
        texts.append(text.encode())
    if how.redacts:
        texts = [_redacted(*each, redacted) for each in zip(texts, shapes(Texts.of(texts)).tolist(), strict=True)]
    return [Refined(data, reason) for data, reason in zip(texts, _reasons(texts, how), strict=True)], mended, redacted


def _redacted(data: bytes, found: int, redacted: Counter[str]) -> bytes:
    text, counts = redact(data.decode(), found)
    redacted += counts
    return text.encode() if counts else data


def _reasons(texts: list[bytes], how: Refinement) -> list[str | None]:
    """Why each is dropped. Nothing but spaces is ``empty`` whatever the rules."""
    judged = families(how.rules)
    found = reasons(judged, statistics(Texts.of(texts), how.word_rule)) if judged else [None] * len(texts)
    return [reason if data.strip() else "empty" for data, reason in zip(texts, found, strict=True)]
