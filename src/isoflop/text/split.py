"""Train, validation and test: whole documents, never positions inside one, and the two held-out splits alike.

The loss forecast is made on validation and judged on test, so a difference between the two would pass for a forecast
error. Documents are therefore ordered by difficulty, cut into strata along that order, and each stratum gives two
neighbours, one to each split (systematic sampling); of many seeded draws the most balanced one is taken
(rerandomisation: Morgan & Rubin 2012, "Rerandomization to improve covariate balance in experiments"). By a token-bigram
model trained on other documents, val and test then differ by 1.2 to 3 % rms over seeds, against 5 % for random draws.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.core.errors import TextError
from isoflop.core.executor import Executor
from isoflop.core.products import StudyWarning
from isoflop.text.collect.formats import CUTS
from isoflop.text.difficulty import difficulties
from isoflop.text.document import DIGEST_BYTES, Documents, Indices, as_digests, order_of
from isoflop.text.read import keep_distinct

MIN_BYTES = 50_000
"""A corpus below this is refused: its held-out splits would be noise."""
MIN_SECTION_BYTES = 4_000
_MIN_PAIRS_OF_DOCUMENTS = 4
_GOOD_PAIRS = 8
_NUM_DRAWS = 256
_MAX_SECTION_BYTES = 1 << 16
_MAX_EXCLUDED_SHARE = 0.3
_MAX_POOL = 20_000
"""Documents among which those to hold out are chosen: each has to be read for its difficulty."""


@dataclass(frozen=True)
class Partition:
    """Documents by split; train in seeded random order, so that any prefix of it is a sample."""

    train: Documents
    val: Documents
    test: Documents
    warnings: list[StudyWarning]
    num_dropped: dict[str, int]
    """Sections dropped after cutting, by reason."""


@dataclass(frozen=True)
class _Sizes:
    """Bytes of one held-out split."""

    wanted: float
    most: float

    @classmethod
    def of(cls, num_bytes: int) -> _Sizes:
        """5 % of the corpus, at least 20 kB but no more than 10 %, at most 2 MB; large documents may take it to 6 %."""
        wanted = min(max(0.05 * num_bytes, 20_000), 2_000_000, 0.1 * num_bytes)
        return cls(wanted, max(0.06 * num_bytes, 1.2 * wanted))


@dataclass(frozen=True)
class _Pool:
    """Documents that may be held out: those of at most ``bound`` bytes, ``num_bytes`` together."""

    indices: Indices
    bound: float
    num_bytes: int

    @property
    def mean(self) -> float:
        return self.num_bytes / len(self.indices)


def split(documents: Documents, *, seed: int = 0, executor: Executor | None = None) -> Partition:
    """Splits distinct ``documents``; the result depends on their contents and ``seed``, not on their order.

    Documents above a quarter of a held-out split always train. Where too few are left to hold out, all are cut into
    sections first (warning ``sections_as_documents``). Raises `TextError` for text too short to split.
    """
    documents = documents.take(order_of(documents.digests))
    sizes = _Sizes.of(documents.num_bytes)
    dropped: Counter[str] = Counter()
    warnings = []
    pool = _eligible(documents, sizes)
    if not _worth_holding_out(pool, sizes):
        sections = _sections(documents, sizes, dropped)
        if len(sections) > len(documents):
            warnings.append(_sections_warning(len(documents), len(sections)))
        documents, pool = sections, _eligible(sections, sizes)
    warnings += _unlike_train(documents, pool)
    num_pairs = _num_pairs(pool, sizes)
    if documents.num_bytes < MIN_BYTES or num_pairs < 1:
        raise _too_short(documents)
    shuffled = _shuffled(documents, seed)
    candidates = _some(pool, shuffled, documents)
    levels = difficulties(documents.take(candidates), documents, executor)
    pairs = _hold_out(documents.sizes[candidates], levels, min(num_pairs, len(candidates) // 3), seed)
    val, test = (candidates[chosen] for chosen in pairs)
    trains = np.ones(len(documents), dtype=bool)
    trains[val] = trains[test] = False
    train = documents.take(shuffled[trains[shuffled]])
    return Partition(train, documents.take(val), documents.take(test), warnings, dict(+dropped))


def cut_sections(data: bytes, min_bytes: int) -> list[bytes]:
    """Pieces of ``data``, at least ``min_bytes`` each, that join to it again.

    A cut is made after a blank line; where none comes within 16 sections' length, after a line; then after a space,
    however far.
    """
    pieces = []
    start = 0
    while (cut := _next_cut(data, start + min_bytes, 16 * min_bytes)) is not None and len(data) - cut >= min_bytes:
        pieces.append(data[start:cut])
        start = cut
    return [*pieces, data[start:]]


def _next_cut(data: bytes, start: int, reach: int) -> int | None:
    searches = [*((pattern, start + reach) for pattern in CUTS), (CUTS[-1], len(data))]
    matches = (pattern.search(data, start, end) for pattern, end in searches)
    return next((match.end() for match in matches if match), None)


def _sections(documents: Documents, sizes: _Sizes, dropped: Counter[str]) -> Documents:
    min_bytes = max(MIN_SECTION_BYTES, min(int(sizes.wanted / 16), _MAX_SECTION_BYTES))
    return keep_distinct([piece for data in documents for piece in cut_sections(data, min_bytes)], dropped)


def _eligible(documents: Documents, sizes: _Sizes) -> _Pool:
    """Documents of which four fit into a held-out split; the larger bound only where the smaller excludes much."""
    pool = _up_to(documents, sizes.wanted / 4)
    if pool.num_bytes < (1 - _MAX_EXCLUDED_SHARE) * documents.num_bytes:
        pool = _up_to(documents, sizes.most / 4)
    return pool


def _up_to(documents: Documents, bound: float) -> _Pool:
    bound = max(bound, 2 * MIN_SECTION_BYTES)
    found = np.flatnonzero(documents.sizes <= bound)
    return _Pool(found, bound, int(documents.sizes[found].sum()))


def _num_pairs(pool: _Pool, sizes: _Sizes) -> int:
    if not len(pool.indices):
        return 0
    wanted = max(round(sizes.wanted / pool.mean), _GOOD_PAIRS)
    return min(wanted, int(sizes.most / pool.mean), len(pool.indices) // 3)


def _worth_holding_out(pool: _Pool, sizes: _Sizes) -> bool:
    num_pairs = _num_pairs(pool, sizes)
    return num_pairs >= _MIN_PAIRS_OF_DOCUMENTS and num_pairs * pool.mean >= sizes.wanted / 4


def _hold_out(
    num_bytes: NDArray[np.int64], levels: NDArray[np.float64], num_pairs: int, seed: int
) -> tuple[Indices, Indices]:
    """The most balanced of many draws of ``num_pairs`` neighbours along the order of difficulty, by their indices."""
    order = np.argsort(levels, kind="stable")
    sizes = num_bytes[order].astype(np.float64)
    bounds = np.linspace(0, len(order), num_pairs + 1).astype(int)
    generator = np.random.default_rng(seed)
    draws = [_draw(bounds, generator) for _ in range(_NUM_DRAWS)]
    val, test = min(draws, key=lambda pair: _imbalance(*pair, sizes=sizes, levels=levels[order]))
    return order[val], order[test]


def _draw(bounds: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One pair of neighbours from each stratum [bounds[i], bounds[i + 1]), which member goes where by coin flip."""
    first = bounds[:-1] + (generator.random(len(bounds) - 1) * (np.diff(bounds) - 1)).astype(int)
    flip = generator.integers(0, 2, size=len(first))
    return first + flip, first + 1 - flip


def _imbalance(val: np.ndarray, test: np.ndarray, *, sizes: np.ndarray, levels: np.ndarray) -> float:
    """Relative differences: difficulty per byte of val to test and of both to the pool, and a tenth of the sizes'."""

    def level(chosen: np.ndarray) -> float:
        return float(sizes[chosen] @ levels[chosen] / sizes[chosen].sum())

    expected = sizes.mean() * len(val)
    off = max(abs(np.log(sizes[chosen].sum() / expected)) for chosen in (val, test))
    both = level(np.concatenate([val, test])) / level(np.arange(len(sizes)))
    return float(abs(level(val) / level(test) - 1) + abs(both - 1) + 0.1 * off)


def _some(pool: _Pool, shuffled: Indices, documents: Documents) -> Indices:
    """The pool in the order of digests; of a very large one those that come first when ``shuffled``."""
    if len(pool.indices) <= _MAX_POOL:
        return pool.indices
    found = shuffled[documents.sizes[shuffled] <= pool.bound]
    return np.sort(found[:_MAX_POOL])


def _shuffled(documents: Documents, seed: int) -> Indices:
    key = seed.to_bytes(8, "little")
    drawn = (hashlib.blake2b(name, key=key, digest_size=DIGEST_BYTES).digest() for name in documents.names())
    return order_of(as_digests(drawn))


def _unlike_train(documents: Documents, pool: _Pool) -> list[StudyWarning]:
    share = 1 - pool.num_bytes / documents.num_bytes
    if share <= _MAX_EXCLUDED_SHARE:
        return []
    count = len(documents) - len(pool.indices)
    message = (
        f"{count} documents, {share:.0%} of the text, are too large to hold out and always train: "
        "validation and test loss say little about text like theirs"
    )
    return [StudyWarning("heldout_unlike_train", message)]


def _sections_warning(num_documents: int, num_sections: int) -> StudyWarning:
    message = (
        f"too few documents can be held out whole, so {num_documents} were cut into {num_sections} sections: "
        "validation and test come from the same documents as train, and scores hold for these, not for new ones"
    )
    return StudyWarning("sections_as_documents", message)


def _too_short(documents: Documents) -> TextError:
    return TextError(
        f"text too short to split: {documents.num_bytes:,} distinct bytes in {len(documents)} documents or sections",
        remedy=f"Give at least {MIN_BYTES:,} bytes that divide into 12 documents, or into paragraphs or lines",
    )
