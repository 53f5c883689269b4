"""Signatures agree as often as shingles do."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.text.dedup.minhash import NO_SHINGLES, shingles, signatures
from isoflop.text.dedup.near import jaccard
from isoflop.text.texts import Texts


def words(rng: np.random.Generator, count: int) -> list[str]:
    """Of six letters each: digits would all be one."""
    return ["".join(chr(97 + i) for i in row) for row in rng.integers(0, 26, (count, 6))]


def test_shingles_ignore_case_accents_marks_and_the_values_of_numbers() -> None:
    plain = Texts.of([b"in 7 days the cafe will reopen at noon"])
    same = ["In 7 days, the café will re-open — at NOON!", "in 2024 days\n\nthe cafe will\treopen at noon"]
    for text in same:
        np.testing.assert_array_equal(shingles(Texts.of([text.encode()]), 0), shingles(plain, 0))
    assert len(shingles(plain, 0)) == 5


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), max_size=30))
def test_shingles_are_distinct_runs_of_five_words(letters: list[str]) -> None:
    runs = {tuple(letters[i : i + 5]) for i in range(max(1, len(letters) - 4))} if letters else set()
    found = shingles(Texts.of([" ".join(letters).encode()]), 0)
    assert len(found) == len(runs)


def test_signatures_estimate_similarity_as_well_as_theory_allows() -> None:
    """300 pairs of all similarities: the root mean square error is that of 112 coin flips each, within a tenth."""
    rng = np.random.default_rng(0)
    errors, variances = [], []
    for _ in range(300):
        whole = words(rng, 300)
        cut = rng.integers(5, 295)
        other = whole[:cut] + words(rng, 300 - cut)
        both = Texts.of([" ".join(whole).encode(), " ".join(other).encode()])
        truth = jaccard(shingles(both, 0), shingles(both, 1))
        a, b = signatures(both)
        errors.append(float((a == b).mean()) - truth)
        variances.append(truth * (1 - truth) / 112)
    assert abs(float(np.mean(errors))) < 0.006
    assert 0.9 < float(np.sqrt(np.mean(np.square(errors)) / np.mean(variances))) < 1.1


def test_a_document_without_words_signs_nothing() -> None:
    signed = signatures(Texts.of([b"", b" \n", b"!?", b"word"]))
    assert (signed[:3] == NO_SHINGLES).all() and (signed[3] != NO_SHINGLES).any()


def test_the_seed_decides() -> None:
    text = Texts.of([b"one two three four five six"])
    assert (signatures(text, seed=1) == signatures(text, seed=1)).all()
    assert (signatures(text, seed=1) != signatures(text, seed=2)).any()
