"""What is done to every document by itself: repaired, redacted, judged. One batch at a time; kernels see it whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from isoflop.core.errors import TextError
from isoflop.core.files import verify
from isoflop.text.clean import clean
from isoflop.text.dedup.contamination import Benchmarks, contaminations
from isoflop.text.language import CHARS, language_of
from isoflop.text.pii import redact
from isoflop.text.quality.c4 import prose
from isoflop.text.quality.classifier import Classifier, load
from isoflop.text.quality.rules import FineWeb, GopherQuality, GopherRepetition, Rules, reasons
from isoflop.text.quality.statistics import WordRule, statistics
from isoflop.text.shapes import shapes
from isoflop.text.texts import Texts

FAMILIES: dict[str, Rules] = {
    "gopher-quality": GopherQuality(max_words=1 << 62),
    "gopher-repetition": GopherRepetition(),
    "fineweb": FineWeb(),
}
"""Rules by name; there is ``c4`` besides, which cuts lines too. Gopher's limit of 100,000 words is for pages of the
web: a person's own text has whole books."""
C4 = "c4"
USUAL = ("gopher-quality", "gopher-repetition")
"""Unless others are asked for. FineWeb's are for pages too: they drop lists, verse and texts with hard line ends."""


@dataclass(frozen=True)
class Judge:
    """A classifier's file and what it asks of a document."""

    path: Path
    sha256: str
    """Of the file: another classifier is another judge."""
    least: float
    """Probability of being good."""


@dataclass(frozen=True)
class Refinement:
    """What is asked for."""

    rules: tuple[str, ...] = USUAL
    word_rule: WordRule = "whitespace"
    redacts: bool = True
    judge: Judge | None = None
    languages: tuple[str, ...] | None = None
    """Those that are kept, by ISO 639; empty: all, but they are told; None: nobody asks."""
    benchmarks: Benchmarks | None = None
    """Documents that hold part of one are dropped."""


@dataclass(frozen=True)
class Refined:
    """One document afterwards."""

    data: bytes
    reason: str | None
    """Why it is dropped; None where it is kept."""


@dataclass
class Batch:
    """Documents and what was done to them."""

    documents: list[Refined]
    mended: Counter[str] = field(default_factory=Counter)
    redacted: Counter[str] = field(default_factory=Counter)
    """Counts by kind."""
    languages: Counter[str] = field(default_factory=Counter)
    """Documents that passed all before."""
    found: dict[str, set[int]] = field(default_factory=dict)
    """Items of benchmarks that stood in kept documents."""


def families(names: Sequence[str]) -> list[Rules]:
    """The rules of these names that ask for statistics. Raises `TextError` for an unknown one."""
    for name in names:
        if name not in (*FAMILIES, C4):
            known = ", ".join((*FAMILIES, C4))
            raise TextError(f"no rules named {name!r}", where="--rules", remedy=f"Use {known} or none")
    return [FAMILIES[name] for name in names if name != C4]


def refine(batch: Sequence[bytes], how: Refinement) -> Batch:
    """The documents (UTF-8) one by one."""
    done = Batch([])
    texts = []
    for data in batch:
        text, counts = clean(data.decode())
        done.mended += counts
        texts.append(text.encode())
    cut: Sequence[str | None] = [None] * len(texts)
    if C4 in how.rules:
        lines = prose(texts)
        texts, cut, done.mended["c4_lines"] = lines.documents, lines.reasons, lines.num_cut
    if how.redacts:
        found = shapes(Texts.of(texts)).tolist()
        texts = [_redacted(*each, done.redacted) for each in zip(texts, found, strict=True)]
    reasons = [a or b for a, b in zip(cut, _reasons(texts, how), strict=True)]
    if how.judge is not None:
        reasons = _judged(texts, reasons, how.judge)
    if how.languages is not None:
        reasons = [reason or _foreign(data, how.languages, done) for data, reason in zip(texts, reasons, strict=True)]
    if how.benchmarks is not None:
        reasons = [
            reason or _benchmark(data, how.benchmarks, done) for data, reason in zip(texts, reasons, strict=True)
        ]
    done.mended = +done.mended
    done.documents = [Refined(data, reason) for data, reason in zip(texts, reasons, strict=True)]
    return done


def _judged(texts: Sequence[bytes], reasons: Sequence[str | None], judge: Judge) -> list[str | None]:
    """The reasons, and ``low_quality`` for what had none and is less likely good than asked."""
    asked = [index for index, reason in enumerate(reasons) if reason is None]
    found = list(reasons)
    likely = _classifier(judge.path, judge.sha256).probabilities(Texts.of([texts[index] for index in asked]))
    for index, probability in zip(asked, likely.tolist(), strict=True):
        found[index] = "low_quality" if probability < judge.least else None
    return found


@cache
def _classifier(path: Path, sha256: str) -> Classifier:
    verify(path, sha256)
    return load(path)


def _foreign(data: bytes, wanted: Sequence[str], done: Batch) -> str | None:
    language = language_of(data[: 8 * CHARS].decode(errors="ignore"))
    done.languages[language] += 1
    return f"language_{language}" if wanted and language not in wanted else None


def _benchmark(data: bytes, benchmarks: Benchmarks, done: Batch) -> str | None:
    """The reason of a contaminated document, whose items are noted."""
    hits = contaminations(data, benchmarks)
    for name, item in hits:
        done.found.setdefault(name, set()).add(item)
    return f"benchmark_{hits.most_common(1)[0][0][0]}" if hits else None


def _redacted(data: bytes, found: int, redacted: Counter[str]) -> bytes:
    text, counts = redact(data.decode(), found)
    redacted += counts
    return text.encode() if counts else data


def _reasons(texts: list[bytes], how: Refinement) -> list[str | None]:
    """Why each is dropped. Nothing but spaces is ``empty`` whatever the rules."""
    judged = families(how.rules)
    found = reasons(judged, statistics(Texts.of(texts), how.word_rule)) if judged else [None] * len(texts)
    return [reason if data.strip() else "empty" for data, reason in zip(texts, found, strict=True)]
