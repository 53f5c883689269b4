"""Pairs are compared and joined."""

import numpy as np

from isoflop.text.dedup.near import clusters_of, jaccard, stars


def test_clusters_join_what_pairs_join() -> None:
    pairs = np.array([[5, 6], [1, 2], [2, 6], [3, 4]])
    assert clusters_of(8, pairs).tolist() == [0, 1, 1, 3, 3, 1, 1, 7]


def test_a_band_of_many_alike_is_a_star() -> None:
    keys = np.array([7, 5, 7, 9, 7, 5], dtype=np.uint64)
    assert sorted(map(tuple, stars(keys, 10 * np.arange(6)).tolist())) == [(0, 20), (0, 40), (10, 50)]
    assert len(stars(keys[:0], np.arange(0))) == 0


def test_jaccard_of_sorted_sets() -> None:
    sets = [np.array(values, dtype=np.uint64) for values in ([1, 3, 5, 7], [3, 7, 9], [])]
    assert jaccard(sets[0], sets[1]) == 2 / 5
    assert jaccard(sets[0], sets[2]) == jaccard(sets[2], sets[2]) == 0.0
