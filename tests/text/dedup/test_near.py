"""Near-duplicates are found, verified and clustered."""

import numpy as np
import pytest

from isoflop.text.dedup.near import clusters_of, jaccard, near_duplicates
from isoflop.text.texts import Texts


def edited(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """With a part at the end replaced, so that the similarity is about (1 - share) / (1 + share)."""
    kept = round(len(words) * (1 - share))
    return words[:kept] + invented(len(words) - kept, rng)


def invented(count: int, rng: np.random.Generator) -> list[str]:
    """Words of six letters."""
    return ["".join(chr(97 + i) for i in row) for row in rng.integers(0, 26, (count, 6))]


def corpus(share: float, count: int = 60) -> tuple[Texts, int]:
    """Originals, then their edited copies."""
    rng = np.random.default_rng(1)
    originals = [invented(400, rng) for _ in range(count)]
    copies = [edited(words, share, rng) for words in originals]
    return Texts.of([" ".join(words).encode() for words in originals + copies]), count


@pytest.mark.parametrize("share", [0.02, 0.08])
def test_copies_with_few_changes_are_found(share: float) -> None:
    texts, count = corpus(share)
    found = near_duplicates(texts)
    assert found.dropped.tolist() == [False] * count + [True] * count
    np.testing.assert_array_equal(found.clusters[count:], np.arange(count))
    assert (found.similarities >= 0.8).all()


def test_what_is_less_alike_stays() -> None:
    texts, _ = corpus(0.15)  # similarity .74: most pairs are candidates, none is verified
    found = near_duplicates(texts)
    assert not found.dropped.any() and found.num_candidates > 30


def test_documents_without_words_are_nobodys_duplicates() -> None:
    found = near_duplicates(Texts.of([b"", b"!", b"", b"one", b"one"]))
    assert found.dropped.tolist() == [False, False, False, False, True]


def test_nothing_to_compare() -> None:
    found = near_duplicates(Texts.of([]))
    assert len(found.pairs) == len(found.clusters) == 0


def test_clusters_join_what_pairs_join() -> None:
    pairs = np.array([[5, 6], [1, 2], [2, 6], [3, 4]])
    assert clusters_of(8, pairs).tolist() == [0, 1, 1, 3, 3, 1, 1, 7]


def test_jaccard_of_sorted_sets() -> None:
    sets = [np.array(values, dtype=np.uint64) for values in ([1, 3, 5, 7], [3, 7, 9], [])]
    assert jaccard(sets[0], sets[1]) == 2 / 5
    assert jaccard(sets[0], sets[2]) == jaccard(sets[2], sets[2]) == 0.0
